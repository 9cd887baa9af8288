package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/all"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/health"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// ask returns what a handler answers.
func ask(t *testing.T, h http.Handler) (code int, r health.Report) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v: %s", err, w.Body)
	}
	return w.Code, r
}

// A patient is a broker that answers as it is told to.
type patient struct {
	brokers.Conn
	err    atomic.Pointer[error]
	asked  atomic.Int64
	frozen chan struct{} // asked for nothing until it is closed; nil where it answers
}

func (p *patient) Ping(context.Context) error {
	p.asked.Add(1)
	if p.frozen != nil {
		<-p.frozen
	}
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *patient) fail(text string) {
	err := errors.New(text)
	p.err.Store(&err)
}

// open returns a bus with one subscription on two brokers, main and audit.
func open(t *testing.T, main, audit brokers.Conn, opts ...bus.Option) *bus.Bus {
	t.Helper()
	opts = append(opts, bus.WithBroker("audit", audit))
	b, err := bus.New(t.Context(), main, bus.Config{}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(bus.Subscription{
		Name: "s", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { return bus.Permanent(errors.New("no")) },
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAServiceIsReadyWhileItsBusWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main, audit := &patient{Conn: memory.New()}, &patient{Conn: memory.New()}
		b := open(t, main, audit)
		all, some := health.Ready(b), health.Ready(b, health.Optional("audit"))
		expect := func(when string, wantAll, wantSome int, said string) {
			t.Helper()
			time.Sleep(2 * health.DefaultEvery)
			code, r := ask(t, all)
			if text := fmt.Sprintf("%+v %+v", r, r.DeadLetters); code != wantAll || !strings.Contains(text, said) || (code == 200) != (r.Status == "ready") {
				t.Errorf("%s: %d, %s", when, code, text)
			}
			if code, r := ask(t, some); code != wantSome {
				t.Errorf("%s, without audit: %d, %+v", when, code, r)
			}
			if code, r := ask(t, health.Live()); code != 200 || r.Status != "live" {
				t.Errorf("%s it lives: %d, %+v", when, code, r)
			}
		}
		expect("before Start", 503, 503, "it does not run yet")
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect("after Start", 200, 200, "s:{OK:true")
		audit.fail("audit is away")
		expect("with a broker away", 503, 200, "audit is away")
		main.fail("main is away")
		expect("with both away", 503, 503, "main is away")
		main.err.Store(nil)
		audit.err.Store(nil)
		expect("with both back", 200, 200, "")
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect("after Close", 503, 503, "closed")
	})
}

// A silent broker never confirms a subscription.
type silent struct{ brokers.Conn }

func (silent) Subscribe(ctx context.Context, _ brokers.Subscription, _ brokers.Sink) error {
	<-ctx.Done()
	return nil
}

func TestWhatIsWrongIsSaidInOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), silent{memory.New()}, bus.Config{}, bus.WithBroker("side", silent{memory.New()}))
		if err == nil {
			_, err = b.Subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"}, Brokers: []string{"side", "main"},
				Handler: func(context.Context, schema.Event) error { return nil },
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Start(ctx); err == nil {
			t.Error("it is confirmed")
		}
		h := health.Ready(b)
		_, first := ask(t, h)
		for range 50 {
			if _, r := ask(t, h); r.Subscriptions["s"] != first.Subscriptions["s"] || !strings.Contains(r.Subscriptions["s"].Error, "broker side") {
				t.Fatalf("%+v, and before %+v", r.Subscriptions, first.Subscriptions)
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAServiceIsNotReadyWhileItShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), memory.New(), bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		finish := make(chan struct{})
		if _, err = b.Subscribe(bus.Subscription{
			Name: "s", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { <-finish; return nil },
		}); err == nil {
			err = b.Start(t.Context())
		}
		if err == nil {
			err = b.Emit(t.Context(), schema.Event{Type: "user.registered"})
		}
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- b.Close(t.Context()) }()
		synctest.Wait()
		if code, r := ask(t, health.Ready(b)); code != 503 || !strings.Contains(r.Error, "shuts down") || !r.Brokers[bus.DefaultBroker].OK {
			t.Errorf("%d, %+v", code, r)
		}
		close(finish)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestABrokerThatIsFrozenDelaysNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main := &patient{Conn: memory.New(), frozen: make(chan struct{})}
		b := open(t, main, memory.New())
		h := health.Ready(b, health.Timeout(300*time.Millisecond), health.Every(time.Minute))
		for range 3 {
			begin := time.Now()
			code, r := ask(t, h)
			if took := time.Since(begin); code != 503 || !strings.Contains(r.Error, "no answer in time") || took > 300*time.Millisecond {
				t.Errorf("%d, %+v after %v", code, r, took)
			}
		}
		close(main.frozen)
		synctest.Wait()
		for range 10 {
			if _, r := ask(t, h); r.Error != "" {
				t.Errorf("after the thaw: %+v", r)
			}
		}
		if n := main.asked.Load(); n != 1 {
			t.Errorf("the broker was asked %d times, however often the handler was; want once", n)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A full store takes no letters.
type full struct{ deadletter.Store }

func (full) Put(context.Context, ...deadletter.Letter) error { return deadletter.ErrFull }

func TestDeadLettersThatCannotBeWrittenCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, memory.New(), memory.New(), bus.WithDeadLetters(full{deadletter.NewMemory(0, 0)}))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), schema.Event{Type: "user.registered"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		code, r := ask(t, health.Ready(b))
		if code != 503 || r.DeadLetters.OK || !strings.Contains(r.DeadLetters.Error, "as many dead letters") {
			t.Errorf("%d, %+v", code, r.DeadLetters)
		}
		if code, r := ask(t, health.Ready(b, health.Optional(health.DeadLetters))); code != 200 || r.DeadLetters.OK {
			t.Errorf("where they are optional: %d, %+v", code, r.DeadLetters)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = b.Close(ended)
		synctest.Wait()
	})
}

func TestNoPasswordIsShown(t *testing.T) {
	for _, url := range []string{
		"redis://user:hunter2@127.0.0.1:1", "redis+stream://user:hunter2@127.0.0.1:1", "nats://user:hunter2@127.0.0.1:1",
		"nats+js://user:hunter2@127.0.0.1:1", "kafka://user:hunter2@127.0.0.1:1?sasl=scram-sha-256", "amqp://user:hunter2@127.0.0.1:1",
	} {
		b, err := bus.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		health.Ready(b).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		if w.Code != 503 || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %d, %s", url, w.Code, w.Body)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = b.Close(ended)
	}
}

// What deploy/kubernetes says of probes has to be so.
func TestTheManifestAsksWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("../deploy/kubernetes/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type check struct {
		HTTPGet struct{ Path string } `yaml:"httpGet"`
		Timeout int                   `yaml:"timeoutSeconds"`
	}
	var manifest struct {
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Liveness  check `yaml:"livenessProbe"`
						Readiness check `yaml:"readinessProbe"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	spec := manifest.Spec.Template.Spec
	if len(spec.Containers) != 1 || spec.Grace <= 30 {
		t.Fatalf("%+v", spec)
	}
	c := spec.Containers[0]
	if c.Liveness.HTTPGet.Path != health.LivePath || c.Readiness.HTTPGet.Path != health.ReadyPath {
		t.Errorf("it asks %s and %s", c.Liveness.HTTPGet.Path, c.Readiness.HTTPGet.Path)
	}
	if d := time.Duration(c.Readiness.Timeout) * time.Second; d <= health.DefaultTimeout {
		t.Errorf("it waits %v for an answer that may take %v", d, health.DefaultTimeout)
	}
}

func ExampleRegister() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)
	mux := http.NewServeMux()
	health.Register(mux, b)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, health.ReadyPath, nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 200 {
	//   "status": "ready",
	//   "brokers": {
	//     "main": {
	//       "ok": true
	//     }
	//   },
	//   "dead_letters": {
	//     "ok": true
	//   }
	// }
}
