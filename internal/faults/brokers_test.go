package faults

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/nats"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A server is what a fault is done to.
type server interface {
	URL() string
	Kill() error
	Restart(context.Context) error
	Freeze() error
	Thaw() error
}

// A fault is begun and ended.
type fault struct {
	name       string
	begin, end func(t *testing.T, s server) error
}

var (
	killed = fault{"killed",
		func(_ *testing.T, s server) error { return s.Kill() },
		func(t *testing.T, s server) error { return s.Restart(t.Context()) }}
	frozen = fault{"frozen",
		func(_ *testing.T, s server) error { return s.Freeze() },
		func(_ *testing.T, s server) error { return s.Thaw() }}
)

// two starts a redis-server and a nats-server.
func two(t *testing.T) (redis, nats server) {
	t.Helper()
	r := testbroker.RealRedis(t)
	return r, testbroker.RealNATS(t, testbroker.NATSOptions{})
}

// patient is the URL of a server to which nothing is done.
func patient(s server) string {
	if r, ok := s.(*testbroker.Redis); ok {
		return r.PatientURL()
	}
	return s.URL()
}

// openTwo makes a world of two brokers, main and audit.
func openTwo(t *testing.T, main, audit server, cfg bus.Config) *world {
	t.Helper()
	w := &world{t: t, log: &logbook{}, ran: make(chan error, 1)}
	cfg.Brokers = map[string]bus.BrokerConfig{"main": {URL: patient(main)}, "audit": {URL: audit.URL()}}
	b, err := bus.OpenConfig(t.Context(), cfg, bus.WithLogger(slog.New(w.log)))
	if err != nil {
		t.Fatal(err)
	}
	w.Bus = b
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = b.Close(ctx)
	})
	return w
}

// sampleBooks looks at the ledger of each broker, and their sum, until the returned function is called. It says how often.
func sampleBooks(t *testing.T, b *bus.Bus) (finish func() int) {
	t.Helper()
	stop, samples := make(chan struct{}), 0
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			st := b.Stats()
			var sum int64
			for name, broker := range st.Brokers {
				sum += broker.Published.Accepted
				if !broker.Published.Balanced() {
					t.Errorf("the ledger of %s does not balance: %+v", name, broker.Published)
				}
			}
			if sum != st.Published.Accepted || !st.Published.Balanced() {
				t.Errorf("the brokers' ledgers are not what their sum says: %+v", st)
			}
			samples++
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() int { close(stop); wg.Wait(); return samples }
}

// latencies are the times from Emit to the handler, by event.
type latencies struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took []time.Duration
}

func (l *latencies) emitting(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == nil {
		l.sent = make(map[string]time.Time)
	}
	l.sent[id] = time.Now()
}

func (l *latencies) handle(_ context.Context, e schema.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(l.sent[e.ID]))
	return nil
}

func TestOneBrokersFaultHarmsNoOtherBroker(t *testing.T) {
	for _, tt := range []struct {
		victim string
		fault  fault
	}{{"redis", frozen}, {"redis", killed}, {"nats", frozen}, {"nats", killed}} {
		t.Run(tt.victim+" "+tt.fault.name, func(t *testing.T) {
			healthy, victim := two(t)
			if tt.victim == "redis" {
				healthy, victim = victim, healthy
			}
			oneFault(t, healthy, victim, tt.victim, tt.fault)
		})
	}
}

// oneFault emits events to both brokers while one of them, audit, has a fault.
func oneFault(t *testing.T, healthy, victim server, who string, f fault) {
	const rate = 2_000
	calm, outage, after := rate/2, full(10, 3)*rate, rate/2
	events := calm + outage + after
	var cfg bus.Config
	cfg.Config = router.Config{Rules: []router.Rule{
		{Match: []string{">"}, Channels: []string{"x.all"}},
		{Match: []string{">"}, Channels: []string{"x.security"}, Broker: "audit"},
	}}
	cfg.Publish.MaxEvents = 1 << 10
	w := openTwo(t, healthy, victim, cfg)
	got := &latencies{}
	w.subscribe(bus.Subscription{Name: "all", Channels: []string{"x.all"}, Handler: got.handle})
	w.subscribe(bus.Subscription{
		Name: "security", Channels: []string{"x.security"}, Handler: func(context.Context, schema.Event) error { return nil },
	})
	w.run()
	samples := sampleBooks(t, w.Bus)
	emit := func(first, n int) []time.Duration {
		took, began := make([]time.Duration, 0, n), time.Now()
		for i := first; i < first+n; i++ {
			if i%64 == 0 { // a busy machine that rests, and then catches up, is not the fault: the healthy broker's lanes never fill
				eventually(t, patience, "the healthy broker is sent to", func() bool {
					return w.Stats().Brokers["main"].Published.Queued < int64(cfg.Publish.MaxEvents)/2
				})
			}
			due := began.Add(time.Duration(i-first) * time.Second / rate)
			if ahead := time.Until(due); ahead > time.Millisecond {
				time.Sleep(ahead)
			}
			e := numbered(i)
			got.emitting(e.ID)
			at := time.Now()
			if err := w.Emit(t.Context(), e); err != nil {
				t.Fatalf("Emit returned %v", err)
			}
			took = append(took, time.Since(at))
		}
		return took
	}
	before := emit(0, calm)
	if err := f.begin(t, victim); err != nil {
		t.Fatal(err)
	}
	during := emit(calm, outage)
	h := checkBriefly(t, w)
	if err := f.end(t, victim); err != nil {
		t.Fatal(err)
	}
	emit(calm+outage, after)
	w.quiet()
	eventually(t, patience, "the healthy broker's events are handled, those that are on their way, too", func() bool {
		s := w.Stats().Subscriptions["all"]
		return s.Handled >= int64(events) || s.Gaps > 0
	})
	n := samples()
	st := w.Stats()
	if s := st.Subscriptions["all"]; s.Handled != int64(events) || s.Gaps > 0 {
		t.Errorf("of %d events to the healthy broker: %+v", events, s)
	}
	if l := st.Brokers["main"].Published; l.Confirmed != int64(events) {
		t.Errorf("the healthy broker has %+v", l)
	}
	felt := st.Brokers["audit"].Published
	if felt.Dropped[bus.DropLaneFull] == 0 || felt.Accepted != int64(events) {
		t.Errorf("the fault was not felt: %+v", felt)
	}
	if h.Brokers["main"] != nil || h.Brokers["audit"] == nil {
		t.Errorf("health says %v", h.Brokers)
	}
	p99, longest, usual := percentile(during, 99), percentile(during, 100), percentile(before, 99)
	slow := inFull && p99 >= max(time.Millisecond, 3*usual) // with the race detector a millisecond is usual
	if slow || longest >= within(time.Second) || percentile(during, 75) >= max(time.Millisecond, 3*usual) {
		t.Errorf("Emit took %v at p99 and %v at most during the fault, and %v before", p99, longest, usual)
	}
	late := percentile(got.took, 99)
	if late >= within(time.Second) {
		t.Errorf("the healthy broker's events were handled after %v at p99", late)
	}
	w.shut()
	figure(t, who+" "+f.name+" beside a healthy broker", "%d events/s: Emit p99 %v, max %v (before: p99 %v); all %d events of the other "+
		"broker handled, p99 %v after Emit; ledger of the faulty one %d = %d confirmed + %v dropped; balanced at %d samples", rate,
		ms(p99), ms(longest), ms(usual), events, ms(late), felt.Accepted, felt.Confirmed, felt.Dropped, n)
}

// checkBriefly asks for everybody's health without waiting long for who does not answer.
func checkBriefly(t *testing.T, w *world) bus.HealthReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return w.Check(ctx)
}

// journal keeps the order in which a subscription handled the events of each key.
type journal struct {
	mu     sync.Mutex
	times  map[string]int
	inBack int // events that were handled after a later one of their key
	last   map[string]int
}

func newJournal() *journal { return &journal{times: make(map[string]int), last: make(map[string]int)} }

func (j *journal) handle(_ context.Context, e schema.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.times[e.ID]++
	i := number(e.ID)
	if i < j.last[e.Subject] {
		j.inBack++
	}
	j.last[e.Subject] = max(j.last[e.Subject], i)
	return nil
}

func TestAFallbackTakesOverFromABrokerThatIsGoneAndGivesBack(t *testing.T) {
	for _, f := range []fault{killed, frozen} {
		t.Run(f.name, func(t *testing.T) { fallBack(t, f) })
	}
}

func fallBack(t *testing.T, f fault) {
	const rate, after = 500, 3 * time.Second // for which no machine rests that is not the fault
	var cfg bus.Config
	cfg.Config = router.Config{Rules: []router.Rule{
		{Match: []string{">"}, Channels: []string{"x.security"}, Broker: "audit", Fallback: "main"},
	}}
	cfg.Publish.FallbackAfter = after
	redis, nats := two(t)
	w := openTwo(t, redis, nats, cfg)
	both, onMain, onAudit := newJournal(), newJournal(), newJournal()
	for _, s := range []bus.Subscription{
		{Name: "security", Handler: both.handle},
		{Name: "on main", Brokers: []string{"main"}, Handler: onMain.handle},
		{Name: "on audit", Brokers: []string{"audit"}, Handler: onAudit.handle},
	} {
		s.Channels = []string{"x.security"}
		w.subscribe(s)
	}
	w.run()
	samples := sampleBooks(t, w.Bus)
	n := 0
	emitUntil := func(what string, ok func(bus.BrokerStats) bool) time.Duration {
		t.Helper()
		began := time.Now()
		for tick := time.NewTicker(time.Second / rate); !ok(w.Stats().Brokers["audit"]); <-tick.C {
			if time.Since(began) > patience {
				t.Fatalf("after %v still not: %s; %+v", patience, what, w.Stats().Brokers["audit"])
			}
			e := numbered(n)
			e.Subject = "user:" + strconv.Itoa(n%20)
			if err := w.Emit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			n++
		}
		return time.Since(began)
	}
	emitUntil("1,000 events are confirmed", func(s bus.BrokerStats) bool { return s.Published.Confirmed >= 1000 })
	if err := f.begin(t, nats); err != nil {
		t.Fatal(err)
	}
	switched := emitUntil("the fallback took 1,000", func(s bus.BrokerStats) bool { return s.Published.FellBack >= 1000 })
	if err := f.end(t, nats); err != nil {
		t.Fatal(err)
	}
	back := emitUntil("the broker is sent to again", func(s bus.BrokerStats) bool { return !s.Unavailable })
	more := w.Stats().Brokers["audit"].Published.Confirmed + 1000
	emitUntil("1,000 more are confirmed", func(s bus.BrokerStats) bool { return s.Published.Confirmed >= more })
	w.quiet()
	eventually(t, patience, "what is on its way is handled", func() bool {
		st := w.Stats()
		audit := st.Brokers["audit"].Published
		all := int64(both.len())+audit.Dropped[bus.DropUnconfirmed] >= int64(n) || st.Subscriptions["security"].Gaps > 0
		return all && int64(onMain.len()) >= audit.FellBack
	})
	w.quiet()
	st := w.Stats()
	audit := st.Brokers["audit"]
	w.shut()
	balanced := samples()

	if audit.Switches != 1 || audit.Returns != 1 || audit.Unavailable || audit.MaybeTwice != 0 {
		t.Errorf("the switch and the return are not counted: %+v", audit)
	}
	// Neither broker stores messages: what a frozen one gave no reply to is lost to the books, and sent to nobody twice.
	unconfirmed := audit.Published.Dropped[bus.DropUnconfirmed]
	if audit.Published.Accepted != int64(n) || audit.Published.Confirmed+unconfirmed != int64(n) {
		t.Errorf("%d events, and the ledger has %+v", n, audit.Published)
	}
	if main := st.Brokers["main"].Published; main.Accepted != 0 {
		t.Errorf("the fallback's own ledger has %+v", main)
	}
	for _, j := range []*journal{both, onMain, onAudit} {
		for id, times := range j.times {
			if times > 1 {
				t.Errorf("event %s was handled %d times", id, times)
			}
		}
	}
	sub := st.Subscriptions["security"]
	if lost := int64(n - len(both.times)); lost > unconfirmed && sub.Gaps == 0 {
		t.Errorf("%d of %d events were not handled, and no gap says so: %+v", lost, n, sub)
	}
	if int64(len(onMain.times)) != audit.Published.FellBack || sub.Duplicate > 0 {
		t.Errorf("%d handled of the fallback's, %+v, %+v", len(onMain.times), audit, sub)
	}
	// There is no order between two brokers; on each of them it is that of Emit.
	if onMain.inBack+onAudit.inBack > 0 {
		t.Errorf("%d and %d events were handled after a later one of their key", onMain.inBack, onAudit.inBack)
	}
	for _, message := range []string{"broker unavailable: messages go to the fallback",
		"broker available again: messages no longer go to the fallback"} {
		if len(w.log.which(func(r logRecord) bool { return r.message == message })) != 1 {
			t.Errorf("the log does not say once %q:\n%s", message, w.log.says())
		}
	}
	figure(t, "nats-server "+f.name+" with redis-server as its fallback", "%d events: %d by the fallback, the thousandth %v after the "+
		"fault (fallback_after %v); sent to again %v after the end of the fault; %d switch, %d return; dropped %v; %d handled, none twice; "+
		"balanced at %d samples", n, audit.Published.FellBack, ms(switched), after, ms(back), audit.Switches, audit.Returns,
		audit.Published.Dropped, len(both.times), balanced)
}
