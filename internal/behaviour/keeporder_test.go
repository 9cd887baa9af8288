package behaviour

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// What a process that is killed gets from its parent.
const (
	envVictimURL     = "EVENTBUS_TEST_VICTIM_URL"
	envVictimLetters = "EVENTBUS_TEST_VICTIM_LETTERS"
	envVictimRow     = "EVENTBUS_TEST_VICTIM_ROW"
	envVictimOrder   = "EVENTBUS_TEST_VICTIM_KEEPS_ORDER"
)

// keptInOrder has an event of a key fail, in a process that is killed once its dead letter is written where the broker keeps events. Two
// further members of the group then find the later ones of the key, and those of others.
func keptInOrder(p *place) func(t *testing.T) {
	if !ordersGroups(p.caps) {
		s := p.subscription("s", func(context.Context, schema.Event) error { return nil })
		s.KeepOrder = true
		_, err := p.bus.Subscribe(s)
		return func(t *testing.T) {
			if refused := new(brokers.CapabilityError); !errors.As(err, &refused) || !slices.Contains(refused.Could, "kafka") {
				t.Errorf("it is not refused with a remedy: %v", err)
			}
		}
	}
	return func(t *testing.T) {
		store := deadletter.Store(deadletter.NewMemory(0, 0))
		if p.caps.Durable {
			server := testbroker.AnyRedis(t)
			store = openLetters(t, server.URL())
			p.emit(t, p.event("0"))
			p.kill(t, p.url, server.URL(), "yes")
			if got := inLine(t, p, store); len(got) != 1 {
				t.Fatalf("after the kill the dead letters are %v", got)
			}
		}
		p.keepOrder(t, store)
	}
}

// keepsOrderWith runs that row alone on a broker that keeps the order of keys because its URL says so.
func keepsOrderWith(t *testing.T, url string) {
	p := newPlaces(t, url, 1).at(0)
	if !ordersGroups(p.caps) {
		t.Fatalf("it promises %+v", p.caps)
	}
	group := brokers.GroupProvision{Group: p.name("s"), Channels: []string{p.channel()}} // it has nothing of what was before it
	err := p.raw.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Groups: []brokers.GroupProvision{group}})
	if err != nil {
		t.Fatal(err)
	}
	check := keptInOrder(p)
	p.start(t)
	check(t)
}

func openLetters(t *testing.T, url string) deadletter.Store {
	t.Helper()
	store, err := deadletter.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// keepOrder goes on with two members.
func (p *place) keepOrder(t *testing.T, store deadletter.Store) {
	const each, keys = 10, 4
	d, mended := &diary{}, &atomic.Bool{}
	var members []*bus.Bus
	for range 2 {
		b := p.open(t, bus.WithDeadLetters(store))
		s := p.keeping(func(ctx context.Context, e schema.Event) error {
			if e.ID == p.event("0").ID && !mended.Load() {
				return errNo
			}
			return d.handle(ctx, e)
		})
		if _, err := b.Subscribe(s); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := b.Start(ctx); err != nil {
			t.Fatal(err)
		}
		members = append(members, b)
	}
	var want []string
	for i := range each {
		e := p.event(strconv.Itoa(i))
		want = append(want, e.ID)
		if e.Subject = "user:0"; i > 0 || !p.caps.Durable {
			p.emit(t, e)
		}
		for key := range keys {
			e := p.event(fmt.Sprint("other-", key, "-", i))
			e.Subject = fmt.Sprint("user:other-", key)
			p.emit(t, e)
		}
	}
	eventually(t, "the other keys go on, and the one waits", func() bool {
		return d.len() >= each*keys && len(inLine(t, p, store)) == each
	})
	mine := func() []string {
		return slices.DeleteFunc(d.all(), func(id string) bool { return !slices.Contains(want, id) && !strings.HasSuffix(id, "last") })
	}
	if got := mine(); len(got) > 0 || !slices.Equal(inLine(t, p, store), want) {
		t.Errorf("handled were %v, and what waits is %v", got, inLine(t, p, store))
	}
	mended.Store(true)
	r, err := deadletter.Redrive(t.Context(), store, members[1].ToSubscription, deadletter.RedriveOptions{})
	last := p.event("last")
	last.Subject = "user:0"
	p.emit(t, last)
	eventually(t, "an event after the redrive is handled", func() bool { return d.count(last.ID) == 1 })
	if got := mine(); err != nil || r.Sent != each || !slices.Equal(got, append(want, last.ID)) {
		t.Errorf("%+v, %v; handled were %v", r, err, got)
	}
}

// inLine returns the ids of the letters of the key.
func inLine(t *testing.T, p *place, store deadletter.Store) (ids []string) {
	line, err := store.(deadletter.LineStore).Line(t.Context(), p.name("s"), "user:0", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range line {
		ids = append(ids, l.EventID)
	}
	return ids
}

func (p *place) keeping(h bus.Handler) bus.Subscription {
	s := p.subscription("s", h)
	s.KeepOrder, s.Retry = true, bus.RetryPolicy{Attempts: 1}
	return s
}

// kill has another process handle an event, which ends it.
func (p *place) kill(t *testing.T, url, letters, keepsOrder string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envVictimURL+"="+url, envVictimLetters+"="+letters, envVictimRow+"="+strconv.Itoa(p.row),
		envVictimOrder+"="+keepsOrder)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended with %v, want it killed: %s", err, out)
	}
}

// A deadlyStore kills its process once a letter is written, before anybody could settle the event.
type deadlyStore struct{ deadletter.LineStore }

func (s deadlyStore) Put(ctx context.Context, letters ...deadletter.Letter) error {
	if err := s.LineStore.Put(ctx, letters...); err != nil {
		return err
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // the signal is on its way
}

// TestVictim is the process that is killed.
func TestVictim(t *testing.T) {
	url := os.Getenv(envVictimURL)
	if url == "" {
		t.Skip("only run by the row that kills it")
	}
	row, err := strconv.Atoi(os.Getenv(envVictimRow))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlaces(t, url, row+1).at(row)
	store := openLetters(t, os.Getenv(envVictimLetters))
	b := p.open(t, bus.WithDeadLetters(deadlyStore{store.(deadletter.LineStore)}))
	s := p.keeping(func(context.Context, schema.Event) error { return errNo })
	s.KeepOrder = os.Getenv(envVictimOrder) != ""
	if _, err := b.Subscribe(s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if !s.KeepOrder { // else its parent has published one, and of two that fail either may be the first
		p.emit(t, p.event("victim"))
	}
	<-ctx.Done()
}
