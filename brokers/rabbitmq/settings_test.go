package rabbitmq

import (
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestAURLThatCannotWorkIsRefusedWithoutItsPassword(t *testing.T) {
	for _, tt := range []struct{ url, says string }{
		{"amqp://h?unknown=1", "unknown"},
		{"amqp://u:s3cret@h?queue=stream", "neither quorum nor classic"},
		{"amqp://u:s3cret@h:0", "port"},
		{"amqp://u:s3cret@h/a/b", "%2F"},
		{"amqp://u:s3cret@h?exchange=amq.topic", "broker's own"},
		{"amqp://u:s3cret@h?exchange=No%20Name", "exchange"},
		{"amqp://u:s3cret@h?required=a..b", "required"},
		{"amqp://u:s3cret@h?auth=md5", "auth"},
		{"amqp://h?auth=external", "amqps://"},
		{"amqps://u:s3cret@h?auth=external&tls_cert=x&tls_key=x", "neither a user"},
		{"amqp://u:s3cret@h?password_env=HOME", "given twice"},
		{"amqp://u@h?password_env=EVENTBUS_NO_SUCH_VARIABLE", "EVENTBUS_NO_SUCH_VARIABLE"},
		{"amqp://u@h?password_file=/no/such/file", "password_file"},
		{"amqp://u:s3cret@h?tls_ca=/no/such/file", "amqps://"},
		{"amqps://u:s3cret@h?tls_ca=/no/such/file", "tls_ca"},
		{"amqps://u:s3cret@h?tls_cert=/no/such/file", "go together"},
		{"amqp://u:s3cret@h?heartbeat=500ms", "heartbeat"},
	} {
		_, err := brokers.Open(t.Context(), tt.url)
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", tt.url, err, tt.says)
		}
	}
}

func TestHostsAndVhostsAreReadFromTheURL(t *testing.T) {
	for url, want := range map[string][2]string{
		"amqp://":                          {"localhost:5672", "/"},
		"amqps://a,b:1":                    {"a:5671 b:1", "/"},
		"amqp://[::1]/":                    {"[::1]:5672", "/"},
		"amqp://h/%2F":                     {"h:5672", "/"},
		"amqp://h/production":              {"h:5672", "production"},
		"amqp://u:p@h/production?":         {"h:5672", "production"},
		"amqp://h/with%20space?auth=plain": {"h:5672", "with space"},
	} {
		u, err := brokers.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		s, err := readURL(u)
		if got := [2]string{strings.Join(s.hosts, " "), s.vhost}; err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", url, got, err, want)
		}
	}
}
