package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// patience is how long a test waits for what must happen, where the table names no bound, before it says that it did
// not.
const patience = 30 * time.Second

// A world is a bus whose hooks and log are kept.
type world struct {
	*bus.Bus
	t     *testing.T
	log   *logbook
	hooks hookCounts
	ran   chan error // what Run returned

	mu    sync.Mutex
	onGap []func(bus.Gap)
}

type hookCounts struct{ dropped, gaps atomic.Int64 }

// newWorld makes a bus on a connection. It is closed when the test ends, unless the test has closed it.
func newWorld(t *testing.T, conn brokers.Conn, cfg bus.Config, hooks bus.Hooks, opts ...bus.Option) *world {
	t.Helper()
	w := &world{t: t, log: &logbook{}, ran: make(chan error, 1)}
	dropped, gap := hooks.Dropped, hooks.Gap
	hooks.Dropped = func(d bus.Dropped) {
		w.hooks.dropped.Add(1)
		if dropped != nil {
			dropped(d)
		}
	}
	hooks.Gap = func(g bus.Gap) {
		w.hooks.gaps.Add(1)
		for _, f := range w.listeners() {
			f(g)
		}
		if gap != nil {
			gap(g)
		}
	}
	b, err := bus.New(t.Context(), conn, cfg, append(opts, bus.WithHooks(hooks), bus.WithLogger(slog.New(w.log)))...)
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

// connect opens a connection to a broker.
func connect(t *testing.T, url string) brokers.Conn {
	t.Helper()
	conn, err := brokers.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (w *world) listeners() []func(bus.Gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.onGap
}

func (w *world) subscribe(s bus.Subscription) *bus.Sub {
	w.t.Helper()
	sub, err := w.Subscribe(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return sub
}

// count adds a tally's subscription.
func (w *world) count(y *tally) *bus.Sub {
	w.t.Helper()
	w.mu.Lock()
	w.onGap = append(w.onGap, y.gap)
	w.mu.Unlock()
	return w.subscribe(y.subscription())
}

// start runs the bus, without waiting for it.
func (w *world) start() { go func() { w.ran <- w.Run(w.t.Context()) }() }

// run starts the bus and waits until the broker has confirmed its subscriptions. It returns when that was.
func (w *world) run() time.Time {
	w.t.Helper()
	w.start()
	select {
	case <-w.Ready():
	case err := <-w.ran:
		w.t.Fatalf("Run returned %v", err)
	case <-time.After(patience):
		w.t.Fatalf("the subscriptions are not ready after %v: %+v", patience, w.Stats())
	}
	return time.Now()
}

// shut closes the bus, which must have nothing to leave behind.
func (w *world) shut() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		w.t.Errorf("Close: %v", err)
	}
	w.balanced()
}

// balanced checks the books of the bus, and that every drop was offered to the hook or counted as not offered.
func (w *world) balanced() {
	w.t.Helper()
	st := w.Stats()
	for _, fault := range unbalanced(st) {
		w.t.Error(fault)
	}
}

// hooksTold checks that every drop was offered to the hook, or counted as one that was not. The bus is closed or at
// rest.
func (w *world) hooksTold() {
	w.t.Helper()
	var st bus.Stats
	ok := func() bool {
		st = w.Stats()
		return w.hooks.dropped.Load()+st.HooksMissed == st.Published.DroppedTotal()+st.Published.Rejected
	}
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Errorf("the Dropped hook was told of %d, %d were counted as not offered, and the ledger has %+v",
				w.hooks.dropped.Load(), st.HooksMissed, st.Published)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// unbalanced names the books of a snapshot that do not balance.
func unbalanced(st bus.Stats) (faults []string) {
	if !st.Published.Balanced() {
		faults = append(faults, "the ledger does not balance: "+format(st.Published))
	}
	for name, s := range st.Subscriptions {
		if !s.Balanced() {
			faults = append(faults, "the books of "+name+" do not balance: "+format(s))
		}
	}
	return faults
}

// quiet waits until nothing is queued and nothing is being handled.
func (w *world) quiet() {
	w.t.Helper()
	eventually(w.t, patience, "the bus is at rest", func() bool {
		st := w.Stats()
		for _, s := range st.Subscriptions {
			if s.InFlight > 0 {
				return false
			}
		}
		return st.Published.Queued == 0
	})
}

// eventually waits for what something else brings about.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// An emitter calls Emit from several goroutines with the numbered events, at a steady rate.
type emitter struct {
	bus          *bus.Bus
	events, rate int

	started, returned atomic.Int64 // calls
	failed            atomic.Int64
	failure           atomic.Value
	cancel            context.CancelFunc
	done              chan struct{}
}

func startEmitter(ctx context.Context, b *bus.Bus, events, rate, callers int) *emitter {
	m := &emitter{bus: b, events: events, rate: rate, done: make(chan struct{})}
	ctx, m.cancel = context.WithCancel(ctx)
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for {
				i := int(m.started.Add(1)) - 1
				if i >= events || ctx.Err() != nil {
					m.started.Add(-1)
					return
				}
				due := began.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
				if ahead := time.Until(due); ahead > time.Millisecond {
					time.Sleep(ahead)
				}
				if err := b.Emit(ctx, numbered(i)); err != nil {
					m.failed.Add(1)
					m.failure.Store(err)
				}
				m.returned.Add(1)
			}
		})
	}
	go func() {
		wg.Wait()
		m.cancel()
		close(m.done)
	}()
	return m
}

// stop ends it before it has emitted everything.
func (m *emitter) stop() {
	m.cancel()
	<-m.done
}

// reaches waits until so many of the events were emitted.
func (m *emitter) reaches(t *testing.T, events int) {
	t.Helper()
	eventually(t, 2*time.Minute, "enough events are emitted", func() bool { return int(m.returned.Load()) >= events })
}

// noErrors checks that no caller saw one.
func (m *emitter) noErrors(t *testing.T) {
	t.Helper()
	if n := m.failed.Load(); n > 0 {
		t.Errorf("%d calls of Emit returned an error, such as: %v", n, m.failure.Load())
	}
}

// An auditor looks at the books again and again while something else happens.
type auditor struct {
	stop    chan struct{}
	wg      sync.WaitGroup
	samples int
	faults  []string
}

// audit begins to sample: the books must balance, Accepted must be what the callers have called, and Confirmed no more
// than what the driver confirmed.
func audit(b *bus.Bus, m *emitter, w *witness) *auditor {
	a := &auditor{stop: make(chan struct{})}
	a.wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			a.sample(b, m, w)
			select {
			case <-tick.C:
			case <-a.stop:
				return
			}
		}
	})
	return a
}

func (a *auditor) sample(b *bus.Bus, m *emitter, w *witness) {
	a.samples++
	least := m.returned.Load() * int64(len(channels))
	st := b.Stats()
	most := m.started.Load() * int64(len(channels))
	confirmed := w.confirmations()
	faults := unbalanced(st)
	if got := st.Published.Accepted; got < least || got > most {
		faults = append(faults, format("accepted", got, "while the callers had called", least, "to", most))
	}
	if got := st.Published.Confirmed; got > confirmed {
		faults = append(faults, format("confirmed", got, "while the driver had confirmed", confirmed))
	}
	if len(a.faults) < 10 {
		a.faults = append(a.faults, faults...)
	}
}

// finish ends the sampling and reports what was wrong.
func (a *auditor) finish(t *testing.T) int {
	t.Helper()
	close(a.stop)
	a.wg.Wait()
	for _, f := range a.faults {
		t.Error(f)
	}
	return a.samples
}

// A logbook keeps what is logged.
type logbook struct {
	mu      sync.Mutex
	records []logRecord
}

type logRecord struct {
	message string
	attrs   map[string]string
}

// Enabled implements slog.Handler.
func (*logbook) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	rec := logRecord{message: r.Message, attrs: make(map[string]string)}
	r.Attrs(func(a slog.Attr) bool {
		rec.attrs[a.Key] = a.Value.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, rec)
	return nil
}

// WithAttrs implements slog.Handler.
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *logbook) WithGroup(string) slog.Handler { return l }

// which returns the records that ok holds for.
func (l *logbook) which(ok func(logRecord) bool) (out []logRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if ok(r) {
			out = append(out, r)
		}
	}
	return out
}

// says returns the whole log as text.
func (l *logbook) says() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, r := range l.records {
		b.WriteString(format(r.message, r.attrs) + "\n")
	}
	return b.String()
}

// outcomes returns those of a PublishError.
func outcomes(t *testing.T, err error) []bus.Outcome {
	t.Helper()
	var pe *bus.PublishError
	if !errors.As(err, &pe) {
		t.Fatalf("Publish returned %v instead of a *PublishError", err)
	}
	return pe.Outcomes
}

// plain is an event without a definition.
func plain(id, data string) schema.Event {
	return schema.Event{ID: id, Type: "role.assigned", Data: []byte(data)}
}

// format prints values with spaces between them.
func format(v ...any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
