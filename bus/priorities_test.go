package bus

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/eventbus-go/eventbus/schema"
)

// promised is how often in a row the item that has been ready for longest may be passed over: the bound that Priorities documents.
const promised = 7

// A lanesModel drives a scheduler with random operations next to plain lists that say what must happen. Its time is what is taken.
type lanesModel struct {
	t *testing.T
	s *scheduler

	ready   []*modelled            // in the order in which they became ready
	behind  map[string][]*modelled // by key, what waits for the ones before it
	running []*modelled
	passed  int // takes in a row of another than the first of ready
}

// A modelled is an item, and what is promised of it.
type modelled struct {
	item     *item
	key      string
	priority schema.Priority
	n        int // its number within its key
	latest   int // after how many more takes it is taken
}

func newLanesModel(t *testing.T, held int) *lanesModel {
	m := &lanesModel{t: t, behind: make(map[string][]*modelled)}
	m.s = newScheduler(held, 1<<20, 1, func() {}, func() bool { return true })
	return m
}

func (m *lanesModel) add(p Priorities, key string, priority schema.Priority, n int) {
	it := m.s.newItem()
	it.key, it.event.Priority = key, priority
	it.lane = p.laneOf(&it.event)
	x := &modelled{item: it, key: key, priority: priority, n: n}
	first := len(m.behind[key]) == 0
	m.behind[key] = append(m.behind[key], x)
	if first {
		m.becomesReady(x)
	}
	m.s.add(it)
}

func (m *lanesModel) becomesReady(x *modelled) {
	x.latest = 8*len(m.ready) + 7
	m.ready = append(m.ready, x)
}

// take takes an item and checks that it is the one that is promised.
func (m *lanesModel) take() {
	m.t.Helper()
	it := m.s.take()
	if len(m.ready) == 0 {
		if it != nil {
			m.t.Fatal("an item was taken that is not ready")
		}
		return
	}
	best, taken := 0, -1
	for i, x := range m.ready {
		if x.priority > m.ready[best].priority {
			best = i
		}
		if x.item == it {
			taken = i
		}
	}
	x := m.ready[max(taken, 0)]
	switch {
	case taken < 0:
		m.t.Fatal("what was taken is not ready")
	case x.latest < 0:
		m.t.Fatalf("%+v waited too long", x)
	case taken != best && taken != 0:
		m.t.Fatalf("a %v was taken before a %v", x.priority, m.ready[best].priority)
	case taken != best && m.passed < promised:
		m.t.Fatalf("the oldest was taken after %d others", m.passed)
	}
	if m.passed++; taken == 0 {
		m.passed = 0
	}
	m.ready = append(m.ready[:taken], m.ready[taken+1:]...)
	for _, other := range m.ready {
		if other.latest--; other.latest < 0 {
			m.t.Fatalf("%+v has waited for its %d others, and was not taken", other, promised)
		}
	}
	m.running = append(m.running, x)
}

// done ends one that runs: the next of its key becomes ready.
func (m *lanesModel) done(i int) {
	x := m.running[i]
	m.running = append(m.running[:i], m.running[i+1:]...)
	if waiting := m.behind[x.key]; waiting[0] != x {
		m.t.Fatalf("number %d of %s ran before number %d", x.n, x.key, waiting[0].n)
	}
	m.behind[x.key] = m.behind[x.key][1:]
	if next := m.behind[x.key]; len(next) > 0 {
		m.becomesReady(next[0])
	}
	m.s.done(x.item)
}

// Whatever arrives and however long handlers take: of what is ready the highest priority is taken, at least every eighth time the
// one that has been ready for longest, so that an item with n before it is taken after at most 8n+7 others; and never one of a key
// before an earlier one of it is done.
func TestNoEventStarvesAndNonePassesItsKey(t *testing.T) {
	schedules := 3000
	if testing.Short() {
		schedules = 300
	}
	for seed := range uint64(schedules) {
		r := rand.New(rand.NewPCG(seed, 1))
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			randomSchedule(t, r)
		})
		if t.Failed() {
			return
		}
	}
}

// randomSchedule has a mix of its own of arrivals, priorities, keys and durations.
func randomSchedule(t *testing.T, r *rand.Rand) {
	m := newLanesModel(t, 1+r.IntN(40))
	keys, workers, critical := 1+r.IntN(50), 1+r.IntN(8), r.IntN(10)
	arrivals, numbers := r.Float64(), make(map[string]int)
	for range 400 {
		switch {
		case r.Float64() < arrivals && m.s.hasRoom(0):
			key := fmt.Sprint("key ", r.IntN(keys))
			p := schema.Low + schema.Priority(r.IntN(4))
			if r.IntN(10) < critical {
				p = schema.Critical // more than can be handled
			}
			numbers[key]++
			m.add(PrioritiesOn, key, p, numbers[key])
		case len(m.running) < workers:
			m.take()
		default:
			m.done(r.IntN(len(m.running)))
		}
	}
	for m.s.items > 0 { // everything that came is taken and ends
		if m.take(); len(m.running) > 0 {
			m.done(r.IntN(len(m.running)))
		}
	}
	if m.s.keys.n != 0 || !m.s.ready.empty() {
		t.Fatalf("%d keys are left behind", m.s.keys.n)
	}
}

// The bound is met: it could not be promised any smaller.
func TestALowEventBesideCriticalOnesIsTakenEighth(t *testing.T) {
	m := newLanesModel(t, 100)
	m.add(PrioritiesOn, "low", schema.Low, 1)
	for i := range 50 {
		m.add(PrioritiesOn, fmt.Sprint("critical ", i), schema.Critical, 1)
	}
	taken := 0
	for m.take(); m.running[len(m.running)-1].key != "low"; m.take() {
		taken++
	}
	if taken != promised {
		t.Errorf("the low event was taken after %d others", taken)
	}
}

func TestWithoutPrioritiesTheOrderIsThatOfArrival(t *testing.T) {
	m := newLanesModel(t, 100)
	for i := range 60 {
		m.add(PrioritiesOff, fmt.Sprint(i), schema.Low+schema.Priority(i%4), 1)
	}
	for i := range 60 {
		if it := m.s.take(); it.key != fmt.Sprint(i) {
			t.Fatalf("number %d was %s", i, it.key)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	for _, mix := range []int{1, 4} {
		b.Run(fmt.Sprint(mix, " priorities"), func(b *testing.B) {
			s := newScheduler(1<<20, 1<<30, 1, func() {}, func() bool { return true })
			for i := range 1000 {
				it := &item{lane: uint8(i % mix)}
				s.add(it)
			}
			b.ReportAllocs()
			for b.Loop() {
				it := s.take()
				lane := it.lane
				s.done(it)
				next := s.newItem()
				next.lane = lane
				s.add(next)
			}
		})
	}
}
