package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// patience is the longest wait for what must come.
const patience = 90 * time.Second

// These tests share one server, since it takes seconds to start. The last one kills it.
func TestOnARealServer(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{SASL: true, TLS: true})
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *testbroker.Kafka)
	}{
		{"each mechanism logs in, and a wrong password is one error without it", logins},
		{"a password file is read for each connection", passwordFile},
		{"TLS wants certificates on both sides", certificates},
		{"SASL over TLS logs in, and certificates are replaced without a restart", overTLS},
		{"an account that may create nothing publishes and subscribes to what another one has provisioned", leastPrivilege},
		{"what is lacking is named", lacking},
		{"a topic is made with the partitions and replicas that the URL says", made},
		{"a topic that takes less at once than a batch has gets smaller ones", smaller},
		{"a provisioned group has all from then on, or all that is there", provisioned},
		{"the lag of a group is what it has not settled", lag},
		{"what follows an unsettled message comes again with it", settledPrefix},
		{"members join and leave, nothing is lost and keys keep their order", joinAndLeave},
		{"Publish returns with its context while the broker is frozen", frozen},
		{"nothing confirmed is lost when the broker is killed", killed},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, server) })
	}
}

func openURL(t *testing.T, url string) brokers.Conn {
	t.Helper()
	c, err := brokers.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func publish(ctx context.Context, c brokers.Conn, msgs ...brokers.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.Publish(ctx, msgs)
}

func logins(t *testing.T, server *testbroker.Kafka) {
	const wrong = "wr0ng-s3cret"
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		at := "@" + server.SASLAddr() + quick + "&sasl=" + mechanism
		good := openURL(t, "kafka://"+testbroker.KafkaUser+":"+testbroker.KafkaPassword+at)
		if err := publish(t.Context(), good, brokers.Message{Channel: "logins", Body: []byte("x")}); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		bad := openURL(t, "kafka://"+testbroker.KafkaUser+":"+wrong+at)
		err := publish(t.Context(), bad, brokers.Message{Channel: "logins", Body: []byte("x")})
		var be *brokers.BatchError
		if !errors.As(err, &be) || be.Failed[0].Outcome != brokers.NotSent || bad.Retryable(err) {
			t.Errorf("%s with a wrong password: %v (retryable %v)", mechanism, err, bad.Retryable(err))
		}
		if err != nil && strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: the error has the password: %v", mechanism, err)
		}
		sub := &recorder{ready: make(chan struct{})}
		err = bad.Subscribe(t.Context(), brokers.Subscription{Channels: []string{"logins"}, Group: "g"}, sub)
		if err == nil || bad.Retryable(err) || strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: Subscribe with a wrong password: %v", mechanism, err)
		}
	}
}

func passwordFile(t *testing.T, server *testbroker.Kafka) {
	file := t.TempDir() + "/password"
	writeFile(t, file, "wrong\n")
	c := openURL(t, "kafka://"+testbroker.KafkaUser+"@"+server.SASLAddr()+quick+"&sasl=scram-sha-256&password_file="+file)
	if err := publish(t.Context(), c, brokers.Message{Channel: "logins", Body: []byte("x")}); err == nil {
		t.Fatal("a wrong password in the file was taken")
	}
	writeFile(t, file, testbroker.KafkaPassword+"\n")
	eventually(t, "the password that the file has now is used", func() bool {
		return publish(t.Context(), c, brokers.Message{Channel: "logins", Body: []byte("x")}) == nil
	})
}

func certificates(t *testing.T, server *testbroker.Kafka) {
	f := server.TLS()
	base := "kafka://" + server.TLSAddr() + quick
	m := brokers.Message{Channel: "certificates", Body: []byte("x")}
	good := openURL(t, base+"&tls_ca="+f.CA+"&tls_cert="+f.ClientCert+"&tls_key="+f.ClientKey)
	if err := publish(t.Context(), good, m); err != nil {
		t.Error(err)
	}
	stranger := openURL(t, base+"&tls_ca="+f.CA)
	if err := publish(t.Context(), stranger, m); err == nil || stranger.Retryable(err) {
		t.Errorf("without a certificate: %v", err)
	}
	trusting := openURL(t, base+"&tls=true&tls_cert="+f.ClientCert+"&tls_key="+f.ClientKey)
	if err := publish(t.Context(), trusting, m); err == nil || trusting.Retryable(err) {
		t.Errorf("a server of an authority that is not trusted: %v", err)
	}
}

func settledPrefix(t *testing.T, server *testbroker.Kafka) {
	const n, stuck = 50, 20
	url := server.URL() + strings.Replace(quick, "partitions=3", "partitions=1", 1)
	c := openURL(t, url)
	msgs := numbered("prefix", n, 1)
	spec := brokers.Subscription{Channels: []string{"prefix"}, Group: "prefix"}
	r := &recorder{ready: make(chan struct{}), keep: func(d brokers.Delivery) bool { return d.ID == msgs[stuck].ID }}
	go func() { _ = c.Subscribe(t.Context(), spec, r) }()
	if err := publish(t.Context(), c, msgs...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all arrive, and what is before the one is committed", func() bool {
		lag, err := c.(brokers.Lagger).Lag(t.Context(), spec.Group, spec.Channels)
		return len(r.ids()) == n && err == nil && len(lag) == 1 && lag[0].Waiting == n-stuck
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.HasPrefix(err.Error(), "1 deliveries were not settled") {
		t.Errorf("Close: %v", err)
	}
	again := &recorder{ready: make(chan struct{})}
	next := openURL(t, url)
	go func() { _ = next.Subscribe(t.Context(), spec, again) }()
	eventually(t, "what was not committed comes again", func() bool { return len(again.ids()) >= n-stuck })
	if got := again.ids(); got[0] != msgs[stuck].ID {
		t.Errorf("it begins again at %s, wants %s", got[0], msgs[stuck].ID)
	}
}

// joinAndLeave: members come and go while messages are published; handlers take some time, in parallel by key.
func joinAndLeave(t *testing.T, server *testbroker.Kafka) {
	const n, keys, batch = 6000, 40, 20
	url := server.URL() + strings.Replace(quick, "partitions=3", "partitions=6", 1)
	all := &recorder{ready: make(chan struct{}), work: time.Millisecond}
	spec := brokers.Subscription{Channels: []string{"joining"}, Group: "joining", Prefetch: 100}
	member := func() (leave func()) {
		c := openURL(t, url)
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := c.Subscribe(ctx, spec, &recorder{ready: make(chan struct{}), next: all, work: all.work}); err != nil {
				t.Errorf("Subscribe: %v", err)
			}
		}()
		return func() { cancel(); <-done }
	}
	stay := member()
	defer stay()
	msgs := numbered("joining", n, keys)
	var wg sync.WaitGroup
	wg.Go(func() {
		publisher := openURL(t, url)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for part := range slices.Chunk(msgs, batch) {
			<-tick.C
			send(t, publisher, part)
		}
	})
	published := make(chan struct{})
	go func() { wg.Wait(); close(published) }()
	changes := 0
	for tick := time.NewTicker(700 * time.Millisecond); ; changes++ {
		leave := member()
		<-tick.C
		leave()
		if isDone(published) {
			tick.Stop()
			break
		}
	}
	eventually(t, "all arrive", func() bool { return all.distinct() == n })
	most := n / 200
	if os.Getenv(brokertest.EnvFull) != "1" {
		most = n / 4 // beside others a commit may be late, and a session may end
	}
	if extra := len(all.ids()) - n; extra > most {
		t.Errorf("%d of %d messages came twice, more than %d", extra, n, most)
	}
	all.checkOrder(t)
	t.Logf("%d messages, %d members came and went, %d twice", n, changes+1, len(all.ids())-n)
}

func frozen(t *testing.T, server *testbroker.Kafka) {
	c := openURL(t, server.URL()+quick)
	if err := publish(t.Context(), c, numbered("frozen", 1, 1)...); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		began := time.Now()
		err := c.Publish(ctx, numbered("frozen", 100, 10))
		if took := time.Since(began) - limit; took > 8*time.Second || err == nil { // and not request_timeout, 10 s
			t.Errorf("Publish took %v longer than its context: %v", took, err)
		}
		cancel()
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Publish succeeds after the thaw", func() bool {
		return publish(t.Context(), c, numbered("frozen", 1, 1)...) == nil
	})
}

func killed(t *testing.T, server *testbroker.Kafka) {
	const n, keys, batch = 6000, 20, 20
	c := openURL(t, server.URL()+quick)
	r := &recorder{ready: make(chan struct{})}
	spec := brokers.Subscription{Channels: []string{"killed"}, Group: "killed"}
	sub := openURL(t, server.URL()+quick)
	go func() { _ = sub.Subscribe(t.Context(), spec, r) }()
	<-r.ready
	restarted := make(chan error, 1)
	var back time.Time
	msgs := numbered("killed", n, keys)
	for i, part := range slices.Collect(slices.Chunk(msgs, batch)) {
		if i == n/batch/2 {
			go func() {
				err := server.Kill()
				if err == nil {
					err = server.Restart(context.Background())
				}
				back = time.Now()
				restarted <- err
			}()
		}
		send(t, c, part)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all arrive", func() bool { return r.distinct() == n })
	t.Logf("%d messages, %d twice, the last one %v after the restart", n, len(r.ids())-n, time.Since(back).Round(time.Millisecond))
	r.checkOrder(t)
}

// send publishes as the bus does: what is not confirmed is sent again until it is.
func send(t *testing.T, c brokers.Conn, msgs []brokers.Message) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(msgs) > 0; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := c.Publish(ctx, msgs)
		cancel()
		var be *brokers.BatchError
		if err == nil {
			return
		}
		if !errors.As(err, &be) || time.Now().After(deadline) {
			t.Fatalf("Publish: %v", err)
		}
		var again []brokers.Message
		for _, f := range be.Failed {
			if f.Outcome == brokers.Rejected {
				t.Fatalf("Publish: %v", err)
			}
			again = append(again, msgs[f.Index])
		}
		msgs = again
		time.Sleep(20 * time.Millisecond)
	}
}

// numbered returns messages whose ids ascend, with keys in turn.
func numbered(channel string, n, keys int) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		out[i] = brokers.Message{
			ID: fmt.Sprintf("%06d", i), Channel: channel, Key: fmt.Sprint("key-", i%keys), Body: []byte("{}"),
		}
	}
	return out
}
