package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

var exchanges atomic.Int64

// fresh returns the URL of the shared server with an exchange of the test's own, and its name.
func fresh(t *testing.T, s *testbroker.RabbitMQ) (url, exchange string) {
	t.Helper()
	exchange = fmt.Sprintf("t%d-%d", time.Now().UnixNano(), exchanges.Add(1))
	return "amqp://" + s.Addr() + calm + "&exchange=" + exchange, exchange
}

// manage calls f with a channel of a client of its own.
func manage(t *testing.T, s *testbroker.RabbitMQ, f func(ch *amqp.Channel) error) {
	t.Helper()
	c, ch, err := admin(s)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := f(ch); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, n int, channel string) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		out[i] = message(channel, fmt.Sprintf("body-%d", from+i))
		out[i].ID = fmt.Sprintf("id-%d", from+i)
	}
	return out
}

func outcomeOf(t *testing.T, err error, i int) brokers.Outcome {
	t.Helper()
	var batch *brokers.BatchError
	if err != nil && !errors.As(err, &batch) {
		t.Fatal(err)
	}
	if batch != nil {
		for _, f := range batch.Failed {
			if f.Index == i {
				return f.Outcome
			}
		}
	}
	return brokers.Confirmed
}

func TestWhatNobodyReadsIsCountedAndAnErrorOnlyWhereItIsRequired(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, _ := fresh(t, s)
	c := open(t, u+"&required=must.>,read.a")
	subscribe(t, c, newRecorder(), brokers.Subscription{Name: "s", Group: "g", Channels: []string{"read.a"}})
	batch := []brokers.Message{
		message("nobody.a", "1"), message("must.a", "2"), message("read.a", "3"), message("must.a", "4"), message("nobody.a", "5"),
	}
	err := c.Publish(t.Context(), batch)
	for i, want := range []brokers.Outcome{
		brokers.Confirmed, brokers.Rejected, brokers.Confirmed, brokers.Rejected, brokers.Confirmed,
	} {
		if got := outcomeOf(t, err, i); got != want {
			t.Errorf("message %d is %v, want %v", i, got, want)
		}
	}
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), `"must.a"`) {
		t.Errorf("%v", err)
	}
	eventually(t, 5*time.Second, "four are counted", func() bool { return c.(brokers.Unrouter).Unroutable() == 4 })
}

func TestAReservedChannelIsRefusedBeforeTheServerSeesIt(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, _ := fresh(t, s)
	c := open(t, u)
	for _, name := range []string{"amq.direct", "amq", "a..b", ">", "A", "a\r\nb", "a\x00", strings.Repeat("a", 64<<10)} {
		if got := outcomeOf(t, c.Publish(t.Context(), []brokers.Message{message(name, "x")}), 0); got != brokers.Rejected {
			t.Errorf("%.20q is %v", name, got)
		}
	}
	if err := c.Subscribe(t.Context(), brokers.Subscription{Channels: []string{"amq.*"}}, newRecorder()); err == nil {
		t.Error("a subscription to amq.* is taken")
	}
}

func TestADeletedQueueIsMadeAgainAndSaidToHaveLost(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"g", ""} {
		t.Run("group "+group, func(t *testing.T) {
			s := server(t)
			u, exchange := fresh(t, s)
			c := open(t, u)
			r := newRecorder()
			subscribe(t, c, r, brokers.Subscription{Name: "s", Group: group, Channels: []string{"heal.a"}})
			queue := exchange + ":g:heal.a"
			manage(t, s, func(ch *amqp.Channel) error {
				if group == "" {
					return ch.ExchangeDelete(exchange, false, false) // nobody else may touch an exclusive queue
				}
				_, err := ch.QueueDelete(queue, false, false, false)
				return err
			})
			eventually(t, 5*time.Second, "a gap", func() bool { return len(r.gaps()) > 0 && r.gaps()[0].Missed == -1 })
			eventually(t, 5*time.Second, "what is published arrives", func() bool {
				return c.Publish(t.Context(), numbered(0, 1, "heal.a")) == nil && r.has("body-0")
			})
		})
	}
}

func TestADeletedExchangeIsMadeAgainWithItsBindings(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	c := open(t, u)
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"heal.a"}})
	manage(t, s, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
	if err := c.Publish(t.Context(), numbered(0, 1, "heal.a")); err != nil && !c.Retryable(err) {
		t.Errorf("Publish to an exchange that may be gone: %v", err)
	}
	eventually(t, 5*time.Second, "what is published arrives", func() bool {
		return c.Publish(t.Context(), numbered(1, 1, "heal.a")) == nil && r.has("body-1")
	})
}

// A server that is killed within the first second of a quorum queue has forgotten it when it comes back: the driver does not say
// that it is ready before.
func TestAQueueThatWasJustMadeSurvivesItsServer(t *testing.T) {
	s := server(t)
	_, exchange := fresh(t, s)
	c := open(t, "amqp://"+s.Addr()+"?exchange="+exchange)
	sub := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"new.a"}}
	end := subscribe(t, c, newRecorder(), sub)
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), numbered(0, 10, "new.a")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Kill(), s.Restart(context.Background())); err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	subscribe(t, c, r, sub)
	eventually(t, 20*time.Second, "what was confirmed arrives", func() bool { return len(r.deliveries()) == 10 })
}

// Whoever provisions, or hears that a subscription is ready, has the server's word then: what is published is kept, even if the
// server is killed at once.
func TestANewQueueIsReliedUponOnceItHasSettled(t *testing.T) {
	t.Parallel()
	const settle = 300 * time.Millisecond
	s := server(t)
	_, exchange := fresh(t, s)
	c := open(t, "amqp://"+s.Addr()+"?settle_time="+settle.String()+"&exchange="+exchange)
	p := brokers.Provision{Groups: []brokers.GroupProvision{{Group: "g", Channels: []string{"new.a"}}}}
	began := time.Now()
	if err := c.(brokers.Provisioner).Provision(t.Context(), p); err != nil || time.Since(began) < settle {
		t.Errorf("Provision of a new queue returned after %v, before %v: %v", time.Since(began), settle, err)
	}
	began = time.Now()
	subscribe(t, c, newRecorder(), brokers.Subscription{Name: "s", Group: "g", Channels: []string{"new.b"}})
	if took := time.Since(began); took < settle {
		t.Errorf("a subscription with a new queue is ready after %v, before %v", took, settle)
	}
}

// What has to wait is kept here as long as the queue to wait in is new.
func TestARedeliveryDoesNotWaitInAQueueThatWasJustMade(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	sub := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"new.a"}}
	p := brokers.Provision{Groups: []brokers.GroupProvision{{Group: "g", Channels: sub.Channels}}}
	if err := open(t, u).(brokers.Provisioner).Provision(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	c := open(t, "amqp://"+s.Addr()+"?settle_time=1h&exchange="+exchange)
	r := &failing{recorder: newRecorder(), after: time.Minute}
	subscribe(t, c, r, sub)
	if err := c.Publish(t.Context(), numbered(0, 1, "new.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 0, "it is asked for again", func() bool { return len(r.deliveries()) == 1 })
	manage(t, s, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(exchange+":g:new.a:after:65536", true, false, false, false, nil)
		if q.Messages > 0 {
			t.Error("it waits where the server may forget it")
		}
		return err
	})
}

func TestAWrongPasswordIsOneErrorWithoutThePassword(t *testing.T) {
	t.Parallel()
	s := server(t)
	c := open(t, "amqp://"+testbroker.RabbitUser+":wr0ng@"+s.Addr())
	err := c.Publish(t.Context(), numbered(0, 1, "a"))
	subErr := c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"a"}}, newRecorder())
	pingErr := c.(brokers.Pinger).Ping(t.Context())
	for _, err := range []error{err, subErr, pingErr} {
		if err == nil || c.Retryable(err) || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "password") {
			t.Errorf("%v", err)
		}
	}
	good := open(t, "amqp://"+testbroker.RabbitUser+":"+url.PathEscape(testbroker.RabbitPassword)+"@"+s.Addr())
	if err := good.(brokers.Pinger).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	vhost := open(t, "amqp://"+s.Addr()+"/nowhere")
	if err := vhost.(brokers.Pinger).Ping(t.Context()); err == nil || vhost.Retryable(err) {
		t.Errorf("a vhost that is not there: %v", err)
	}
}

func TestAPasswordFileIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	s := server(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("wr0ng\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, "amqp://"+testbroker.RabbitUser+"@"+s.Addr()+"?password_file="+file)
	if err := c.(brokers.Pinger).Ping(t.Context()); err == nil || c.Retryable(err) {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(file, []byte(testbroker.RabbitPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it logs in", func() bool { return c.(brokers.Pinger).Ping(t.Context()) == nil })
}

func TestTLSWithACertificateOfTheClientThatLogsIn(t *testing.T) {
	t.Parallel()
	s := server(t)
	f := s.TLS()
	certs := "?tls_ca=" + f.CA + "&tls_cert=" + f.ClientCert + "&tls_key=" + f.ClientKey
	for _, u := range []string{
		"amqps://" + testbroker.RabbitUser + ":" + testbroker.RabbitPassword + "@" + s.TLSAddr() + certs,
		"amqps://" + s.TLSAddr() + certs + "&auth=external",
	} {
		c := open(t, u)
		r := newRecorder()
		subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"tls.a"}})
		if err := c.Publish(t.Context(), numbered(0, 3, "tls.a")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "all arrive", func() bool { return r.has("body-2") })
	}
	for _, u := range []string{"amqps://" + s.TLSAddr(), "amqps://" + s.TLSAddr() + "?tls_ca=" + f.CA} {
		if err := open(t, u).(brokers.Pinger).Ping(t.Context()); err == nil {
			t.Errorf("%s connects", u)
		}
	}
}

func TestCertificatesAreReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	s := server(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace := func(from string) {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(ca, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(testbroker.NewTLSFiles(t).CA)
	c := open(t, "amqps://"+testbroker.RabbitUser+":"+testbroker.RabbitPassword+"@"+s.TLSAddr()+"?tls_ca="+ca+
		"&tls_cert="+s.TLS().ClientCert+"&tls_key="+s.TLS().ClientKey)
	if err := c.(brokers.Pinger).Ping(t.Context()); err == nil || c.Retryable(err) {
		t.Fatalf("a server of another authority: %v", err)
	}
	replace(s.TLS().CA)
	eventually(t, 0, "the authority that the file has now is trusted", func() bool {
		return c.(brokers.Pinger).Ping(t.Context()) == nil
	})
}

func TestAQueueWithOtherSettingsIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, _ := fresh(t, s)
	sub := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"other.a"}}
	_ = subscribe(t, open(t, u), newRecorder(), sub)()
	c := open(t, u+"&queue=classic")
	err := c.Subscribe(t.Context(), sub, newRecorder())
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("%v", err)
	}
}

func TestAServiceWithoutTheRightToCreateUsesWhatWasProvisioned(t *testing.T) {
	t.Parallel()
	s := server(t)
	_, exchange := fresh(t, s)
	bob := "amqp://" + testbroker.RabbitReader + ":" + testbroker.RabbitPassword + "@" + s.Addr() + calm + "&exchange=" + exchange
	c := open(t, bob+"&create=false")
	sub := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"made.a", "made.b"}}
	if err := c.Subscribe(t.Context(), sub, newRecorder()); err == nil || c.Retryable(err) {
		t.Fatalf("a queue that is not there: %v", err)
	}
	p := brokers.Provision{Channels: sub.Channels, Groups: []brokers.GroupProvision{{Group: "g", Channels: sub.Channels}}}
	if err := c.(brokers.Provisioner).Provision(t.Context(), p); err == nil || c.Retryable(err) || !strings.Contains(err.Error(), "made.a") {
		t.Fatalf("create=false forbids to make what is not there: %v", err)
	}
	may := open(t, bob)
	if err := may.(brokers.Provisioner).Provision(t.Context(), p); err == nil || may.Retryable(err) {
		t.Fatalf("it may create nothing: %v", err)
	}
	alice := "amqp://" + testbroker.RabbitUser + ":" + testbroker.RabbitPassword + "@" + s.Addr() + calm + "&exchange=" + exchange
	operator := open(t, alice)
	for range 2 {
		if err := operator.(brokers.Provisioner).Provision(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Publish(t.Context(), numbered(0, 5, "made.a")); err != nil {
		t.Fatal(err)
	}
	lag, err := c.(brokers.Lagger).Lag(t.Context(), "g", []string{"made.a", "made.b", "made.c"})
	want := []brokers.Lag{{Channel: "made.a", Waiting: 5, Pending: -1}, {Channel: "made.b", Waiting: 0, Pending: -1}}
	if err != nil || !slices.Equal(lag, want) {
		t.Errorf("%+v, %v", lag, err)
	}
	r := &failing{recorder: newRecorder(), after: 100 * time.Millisecond}
	subscribe(t, c, r, sub)
	eventually(t, 10*time.Second, "all come twice", func() bool { return len(r.deliveries()) == 10 })
}
