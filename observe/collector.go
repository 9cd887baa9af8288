package observe

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/probe"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// An Option changes what a Collector does.
type Option func(*Collector)

// Defaults of the options.
const (
	DefaultMaxLabelValues = 100
	DefaultTimeout        = time.Second
	DefaultEvery          = 10 * time.Second
)

// MaxLabelValues bounds how many values each label may have. Default [DefaultMaxLabelValues].
func MaxLabelValues(n int) Option { return func(c *Collector) { c.labels.max = max(n, 1) } }

// Timeout bounds how long a Collect waits for brokers and stores. Default [DefaultTimeout].
func Timeout(d time.Duration) Option { return func(c *Collector) { c.timeout = d } }

// Every is how often brokers and stores are asked at most. Default [DefaultEvery].
func Every(d time.Duration) Option { return func(c *Collector) { c.every = d } }

// grace is what an answer may take beyond its time: drivers return within 100 ms of their context's end.
const grace = 250 * time.Millisecond

// A Collector reads the metrics of a bus. Its methods are safe for concurrent use. It needs no closing: a question to a
// broker that is under way ends by its timeout, and there is never more than one of each kind.
type Collector struct {
	bus            *bus.Bus
	timeout, every time.Duration

	brokers *probe.Probe[bus.HealthReport]
	lag     *probe.Probe[[]bus.GroupLag]
	letters *probe.Probe[deadletter.Stats]

	mu     sync.Mutex
	labels labels
}

// NewCollector returns a Collector of b, and has b measure what the histograms show.
func NewCollector(b *bus.Bus, opts ...Option) *Collector {
	c := &Collector{bus: b, timeout: DefaultTimeout, every: DefaultEvery, labels: labels{max: DefaultMaxLabelValues}}
	for _, o := range opts {
		o(c)
	}
	c.brokers = newProbe(c, func(ctx context.Context) (bus.HealthReport, error) { return b.Check(ctx), nil })
	c.lag = newProbe(c, b.Lag)
	if store := b.DeadLetters(); store != nil {
		c.letters = newProbe(c, store.Stats)
	}
	b.Measure()
	return c
}

func newProbe[T any](c *Collector, ask func(context.Context) (T, error)) *probe.Probe[T] {
	return &probe.Probe[T]{Ask: ask, Timeout: c.timeout, Every: c.every}
}

// Collect returns the samples of now, in no order; each has labels of its own. It waits for brokers and stores for the
// timeout, or until ctx ends, and leaves out what they did not say.
func (c *Collector) Collect(ctx context.Context) []Sample {
	asked := c.ask(ctx)
	st := c.bus.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &merger{labels: &c.labels, index: make(map[string]int)}
	read(st, m.add)
	asked.read(st, m.add)
	return m.out
}

// read yields what a snapshot says, by name, so that the values of labels are always met in the same order.
func read(st bus.Stats, yield func(Sample)) {
	ofBuses.read(st, yield)
	for _, name := range sortedKeys(st.Brokers) {
		ofBrokers.read(st.Brokers[name], yield, name)
	}
	for _, name := range sortedKeys(st.Subscriptions) {
		ofSubscriptions.read(st.Subscriptions[name], yield, name)
	}
}

// answers are what the probes have said.
type answers struct {
	health  bus.HealthReport
	lag     []bus.GroupLag
	letters *deadletter.Stats // nil where nothing is known
	errs    map[string]error  // by probe
	now     time.Time
}

// ask asks brokers and stores, all at once.
func (c *Collector) ask(ctx context.Context) (a answers) {
	end, cancel := context.WithTimeout(ctx, c.timeout+grace)
	defer cancel()
	a.errs = make(map[string]error)
	brokers, lag := c.brokers.Start(ctx), c.lag.Start(ctx)
	if c.letters != nil {
		letters := c.letters.Start(ctx)
		st, err := c.letters.Get(letters, end.Done())
		if a.errs["dead_letters"] = err; err == nil {
			a.letters = &st
		}
	}
	a.health, a.errs["brokers"] = c.brokers.Get(brokers, end.Done())
	a.lag, a.errs["lag"] = c.lag.Get(lag, end.Done())
	a.now = time.Now()
	return a
}

// read yields what is known. A broker of which nothing is known has not answered.
func (a *answers) read(st bus.Stats, yield func(Sample)) {
	for _, name := range sortedKeys(st.Brokers) {
		err, asked := a.health.Brokers[name]
		yield(Sample{Metric: brokerUp, Labels: []string{name}, Value: yes(asked && err == nil)})
	}
	for _, l := range a.lag {
		a.readLag(l, yield)
	}
	if a.letters != nil {
		yield(Sample{Metric: lettersDepth, Value: float64(a.letters.Depth)})
		yield(Sample{Metric: lettersAge, Value: a.since(a.letters.Oldest)})
		yield(Sample{Metric: lettersEvicted, Value: float64(a.letters.Evicted)})
	}
	for _, name := range sortedKeys(a.errs) {
		yield(Sample{Metric: probeFailed, Labels: []string{name}, Value: yes(a.errs[name] != nil)})
	}
}

// readLag yields what a broker knows of a group on a channel.
func (a *answers) readLag(l bus.GroupLag, yield func(Sample)) {
	labels := []string{l.Broker, l.Group, l.Channel}
	if l.Waiting >= 0 {
		yield(Sample{Metric: lagWaiting, Labels: labels, Value: float64(l.Waiting)})
	}
	if l.Pending >= 0 {
		yield(Sample{Metric: lagPending, Labels: labels, Value: float64(l.Pending)})
	}
	if !l.Oldest.IsZero() || l.Waiting == 0 && l.Pending == 0 {
		yield(Sample{Metric: lagOldest, Labels: labels, Value: a.since(l.Oldest)})
	}
}

func (a *answers) since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(a.now.Sub(t).Seconds(), 0)
}

// joined adds up two histograms, of which one may have measured nothing.
func joined(a, b bus.Histogram) bus.Histogram {
	if len(a.Counts) == 0 {
		return b
	}
	a.Counts = slices.Clone(a.Counts)
	for i, n := range b.Counts {
		a.Counts[i] += n
	}
	a.Sum += b.Sum
	return a
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
