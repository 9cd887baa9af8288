package kafka

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

func read(t *testing.T, url string) (settings, []string, security, error) {
	t.Helper()
	u, err := brokers.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return readURL(u)
}

func TestAURLIsRead(t *testing.T) {
	s, hosts, sec, err := read(t, "kafka://u:p%40ss@h1,h2:9093?partitions=12&replication=3&create=false&sasl=scram-sha-512"+
		"&max_bytes=5000&commit_interval=1s&session_timeout=20s&tls=true")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(hosts, []string{"h1:9092", "h2:9093"}) {
		t.Errorf("hosts %q", hosts)
	}
	if s.partitions != 12 || s.replication != 3 || s.create || s.maxBytes != 5000 || s.commit != time.Second ||
		s.session != 20*time.Second {
		t.Errorf("settings %+v", s)
	}
	if sec.user != "u" || sec.password != "p@ss" || sec.mechanism != "scram-sha-512" || !sec.tls {
		t.Errorf("security %+v", sec)
	}
	if _, hosts, sec, err = read(t, "kafka://"); err != nil || !slices.Equal(hosts, []string{"localhost:9092"}) || sec.sasl() != nil {
		t.Errorf("kafka:// is %q, %v", hosts, err)
	}
}

func TestAURLThatCanNeverWorkIsRefusedWithoutItsPassword(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"kafka://h?partitons=3", `parameter "partitons" is unknown`},
		{"kafka://h/topic", "takes no path"},
		{"kafka://h1,,h2", "a host between commas is missing"},
		{"kafka://h1:0", "port"},
		{"kafka://u:s3cret@h?sasl=kerberos", "sasl is not plain, scram-sha-256 or scram-sha-512"},
		{"kafka://h?sasl=plain", "needs a user"},
		{"kafka://:s3cret@h", "needs a user"},
		{"kafka://u:s3cret@h?password_file=x", "given twice"},
		{"kafka://u@h?password_file=/no/such/file", "password_file"},
		{"kafka://h?tls_ca=/no/such/file", "tls_ca"},
		{"kafka://h?tls_cert=a", "go together"},
		{"kafka://h?heartbeat_interval=8s", "less than half of session_timeout"},
	} {
		_, err := brokers.Open(context.Background(), tt.url)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, wants %s", tt.url, err, tt.want)
		}
	}
}

func TestALoginUsesThePasswordThatTheFileHasThen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	s := security{user: "u", mechanism: "plain", source: tlsfile.Source{File: file}}
	for _, password := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, sent, err := s.sasl().Start(t.Context())
		if err != nil || string(sent) != "\x00u\x00"+password {
			t.Errorf("%q, %v", sent, err)
		}
	}
}
