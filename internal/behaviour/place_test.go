package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// patience is how long a check waits for what must happen, before it says that it did not.
const patience = time.Minute

// places are the rows of one broker: they share a bus, and have a channel each.
type places struct {
	url   string
	brief string // see column
	rows  int
	caps  brokers.Capabilities
	bus   *bus.Bus
	raw   brokers.Conn // for what a bus would not publish
}

func newPlaces(t *testing.T, url string, rows int) *places {
	ps := &places{url: url, rows: rows}
	var err error
	if ps.raw, err = brokers.Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ps.end(t, ps.raw.Close) })
	ps.caps = ps.raw.Capabilities()
	ps.bus = ps.open(t)
	return ps
}

// open opens a bus on which the events of each row go to the row's channel, and closes it.
func (ps *places) open(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b := ps.openOwn(t, opts...)
	t.Cleanup(func() { ps.end(t, b.Close) })
	return b
}

// openOwn opens such a bus for who closes it.
func (ps *places) openOwn(t *testing.T, opts ...bus.Option) *bus.Bus {
	t.Helper()
	cfg := bus.Config{URL: ps.url}
	// A batch may take as long as a busy machine takes. Else its outcome would be unknown after a second, and its events lost, or sent twice.
	cfg.Publish.SendTimeout, cfg.Publish.Timeout = patience/2, patience
	for i := range ps.rows {
		p := place{ps, i}
		cfg.Rules = append(cfg.Rules, router.Rule{Match: []string{p.eventType()}, Channels: []string{p.channel()}})
	}
	if ps.url == "memory://" {
		opts = append(opts, bus.WithBroker(bus.DefaultBroker, keptOpen{ps.raw}))
	}
	b, err := bus.OpenConfig(t.Context(), cfg, append(opts, bus.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scheme is that of the broker's URL.
func (ps *places) scheme() string {
	scheme, _, _ := strings.Cut(ps.url, ":")
	return scheme
}

// keptOpen is the connection to the broker in this process, which ends with the last of its buses.
type keptOpen struct{ brokers.Conn }

func (keptOpen) Close(context.Context) error { return nil }

// end calls a Close, which has nothing to leave behind.
func (ps *places) end(t *testing.T, closing func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := closing(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func (ps *places) start(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ps.bus.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// briefly is a URL by which the broker delivers soon what a process had that was killed.
func (ps *places) briefly() string {
	switch {
	case ps.brief == "":
		return ps.url
	case strings.Contains(ps.url, "?"):
		return ps.url + "&" + ps.brief
	default:
		return ps.url + "?" + ps.brief
	}
}

func (ps *places) at(row int) *place { return &place{ps, row} }

// A place is where one row is checked.
type place struct {
	*places
	row int
}

func (p *place) eventType() string { return fmt.Sprintf("row%d.happened", p.row) }

func (p *place) channel() string { return fmt.Sprintf("behaviour.row%d", p.row) }

// name is the name of a subscription of the row.
func (p *place) name(which string) string { return fmt.Sprintf("row%d-%s", p.row, which) }

// subscription reads the channel of the row, in a group where there are groups.
func (p *place) subscription(which string, handler bus.Handler) bus.Subscription {
	s := bus.Subscription{Name: p.name(which), Channels: []string{p.channel()}, Handler: handler}
	if p.caps.Groups {
		s.Group = s.Name
	}
	return s
}

// subscribe adds a subscription. It panics where that is refused, which stops the column.
func (p *place) subscribe(s bus.Subscription) *bus.Sub {
	sub, err := p.bus.Subscribe(s)
	if err != nil {
		panic(err)
	}
	return sub
}

// event is one of the row, by its id; its subject is its own.
func (p *place) event(id string) schema.Event {
	return schema.Event{
		ID: p.name(id), Type: p.eventType(), Subject: "user:" + id, Data: json.RawMessage(`{"n":1}`), Time: time.Now(), Source: "s",
	}
}

func (p *place) emit(t *testing.T, events ...schema.Event) {
	t.Helper()
	if err := p.bus.Emit(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

// publishRaw publishes a body as it is.
func (p *place) publishRaw(t *testing.T, id string, body []byte) {
	t.Helper()
	m := brokers.Message{ID: p.name(id), Type: p.eventType(), Channel: p.channel(), Key: id, Body: body}
	for {
		err := p.raw.Publish(t.Context(), []brokers.Message{m})
		if err == nil {
			return
		}
		failed := new(brokers.BatchError)
		if !errors.As(err, &failed) || !p.raw.Retryable(err) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// written waits until no dead letter waits to be written: where a broker takes nothing back, one waits in the process while a busy server
// does not answer.
func (p *place) written(t *testing.T) {
	t.Helper()
	eventually(t, "the dead letters are written", func() bool { return p.bus.Stats().DeadLetters.Waiting == 0 })
}

// letters returns the dead letters of a subscription of the row.
func (p *place) letters(t *testing.T, which string) (out []deadletter.Letter) {
	t.Helper()
	p.written(t)
	for l, err := range deadletter.List(t.Context(), p.bus.DeadLetters(), deadletter.Query{Subscriptions: []string{p.name(which)}}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// redrive sends the dead letters of a subscription of the row again.
func (p *place) redrive(t *testing.T, which string, to deadletter.Sender) deadletter.Report {
	t.Helper()
	p.written(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := deadletter.Redrive(ctx, p.bus.DeadLetters(), to, deadletter.RedriveOptions{
		Query: deadletter.Query{Subscriptions: []string{p.name(which)}},
	})
	if err != nil {
		t.Fatalf("redrive: %v", err)
	}
	return r
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(begin) > patience {
			t.Fatalf("after %v still not: %s", patience, what)
		}
		<-tick.C
	}
}

// A diary notes what handlers saw.
type diary struct {
	mu    sync.Mutex
	notes []string
}

func (d *diary) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, s)
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.notes)
}

func (d *diary) len() int { return len(d.all()) }

func (d *diary) count(s string) (n int) {
	for _, note := range d.all() {
		if note == s {
			n++
		}
	}
	return n
}

// handle notes the id of each event, and succeeds.
func (d *diary) handle(_ context.Context, e schema.Event) error { d.note(e.ID); return nil }

// fixed is a retry policy of so many attempts with a wait in between, which keeps a worker up to a millisecond only.
func fixed(attempts int, wait time.Duration) bus.RetryPolicy {
	return bus.RetryPolicy{Attempts: attempts, InPlace: time.Millisecond, Backoff: bus.Backoff{Min: wait, Max: wait, NoJitter: true}}
}
