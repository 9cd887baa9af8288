package behaviour

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// What a process that is told to end gets from its parent.
const (
	envDraineeURL = "EVENTBUS_TEST_DRAINEE_URL"
	envDraineeRow = "EVENTBUS_TEST_DRAINEE_ROW"
)

const (
	drainHandlers = 100
	drainLongest  = 500 * time.Millisecond // of those handlers
	drainReserve  = 500 * time.Millisecond // that Close may take besides, in full size
	drainDeadline = 2 * time.Second        // of a Close whose handler does not end
)

// drainBacklog is how many events a process has published to itself when it is told to end: more than it holds where the broker takes
// back what no handler has begun, and a few rounds of its handlers elsewhere.
func (p *place) drainBacklog() int {
	if p.caps.Durable {
		return 15 * drainHandlers
	}
	return 3 * drainHandlers
}

// A drainee is the process that is told to end. It writes what it does to its standard output, a word and a value in each line.
type drainee struct {
	*place
	out     sync.Mutex
	running atomic.Int64
	full    chan struct{} // closed once all handlers run
	loaded  chan struct{} // closed once the process holds what it is to hold: until then no handler goes on
	hangs   chan struct{} // closed once the handler runs that does not end
}

func (d *drainee) say(what string, v any) {
	d.out.Lock()
	defer d.out.Unlock()
	fmt.Println("drainee:", what, v)
}

// handle takes half a second, and says which event it was.
func (d *drainee) handle(ctx context.Context, e schema.Event) error {
	if d.running.Add(1) == drainHandlers {
		close(d.full)
	}
	select {
	case <-d.loaded:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(drainLongest):
		d.say("handled", e.ID)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestDrainee is that process: a hundred of its handlers run, and one on a bus of its own that does not end.
func TestDrainee(t *testing.T) {
	url := os.Getenv(envDraineeURL)
	if url == "" {
		t.Skip("only run by the row that ends it")
	}
	row, err := strconv.Atoi(os.Getenv(envDraineeRow))
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer cancel()
	d := &drainee{
		place: newPlaces(t, url, row+1).at(row),
		full:  make(chan struct{}), loaded: make(chan struct{}), hangs: make(chan struct{}),
	}
	healthy, sub := d.begin(t, d.open(t), "told", d.handle)
	hanging, _ := d.begin(t, d.openOwn(t), "hangs", func(_ context.Context, e schema.Event) error {
		if e.ID == d.event("hangs").ID {
			close(d.hangs)
			<-t.Context().Done()
		}
		return nil
	})
	d.emit(t, d.event("hangs"))
	for i := range d.drainBacklog() - 1 {
		d.emit(t, d.event(strconv.Itoa(i)))
	}
	<-d.full
	<-d.hangs
	least := min(d.drainBacklog(), 3*drainHandlers)
	eventually(t, "it holds what it is to hold", func() bool { return sub.Stats().InFlight >= int64(least) })
	eventually(t, "it has published everything", func() bool { return d.bus.Stats().Published.Queued == 0 })
	close(d.loaded)
	d.say("running", drainHandlers)
	<-stop.Done()
	var closing sync.WaitGroup
	closing.Go(func() { d.closeHanging(hanging) })
	d.closeHealthy(t, healthy, sub)
	closing.Wait()
}

func (d *drainee) begin(t *testing.T, b *bus.Bus, name string, h bus.Handler) (*bus.Bus, *bus.Sub) {
	t.Helper()
	s := d.subscription(name, h)
	s.Concurrency, s.Timeout = drainHandlers, bus.NoTimeout
	sub, err := b.Subscribe(s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(err, b.Start(ctx)); err != nil {
		t.Fatal(err)
	}
	return b, sub
}

func (d *drainee) closeHealthy(t *testing.T, b *bus.Bus, sub *bus.Sub) {
	before, began := sub.Stats().Handled, time.Now()
	d.end(t, b.Close)
	took := time.Since(began)
	st := sub.Stats()
	d.say("closed", took.Microseconds())
	d.say("before", before)
	d.say("after", st.Handled)
	d.say("back", st.Redelivered)
	d.say("failed", st.Failed+st.DeadLettered)
	if !st.Balanced() || st.InFlight != 0 {
		t.Errorf("the books say %+v", st)
	}
}

// closeHanging says which event's handler Close has named.
func (d *drainee) closeHanging(b *bus.Bus) {
	ctx, cancel := context.WithTimeout(context.Background(), drainDeadline)
	defer cancel()
	began := time.Now()
	left := new(bus.CloseError)
	if errors.As(b.Close(ctx), &left) {
		for _, h := range left.Handlers {
			d.say("named", h.EventID)
		}
	}
	d.say("gave_up", time.Since(began).Microseconds())
}

// A drainReport is what a process that was told to end has said.
type drainReport struct {
	handled map[string]int
	named   map[string]bool
	numbers map[string]int

	next, repeated int // how many the next process has handled, and how many were handled twice
}

func (r *drainReport) took(what string) time.Duration {
	return time.Duration(r.numbers[what]) * time.Microsecond
}

// toldToEnd is a rolling update: a process is told to end while a hundred of its handlers run, events go on arriving, and another one
// takes over where the broker keeps them.
func toldToEnd(p *place) func(t *testing.T) {
	return func(t *testing.T) {
		sent := p.drainBacklog()
		b := p.open(t)
		r := p.tellToEnd(t, func() {
			if p.url == "memory://" {
				return // it is the process's own
			}
			for i := range 2 * drainHandlers {
				sent++
				if err := b.Emit(t.Context(), p.event("late"+strconv.Itoa(i))); err != nil {
					t.Error(err)
				}
			}
		})
		if !r.named[p.event("hangs").ID] {
			t.Errorf("Close did not name the handler that would not end, but %v", r.named)
		}
		if r.numbers["failed"] != 0 || len(r.handled) != r.numbers["after"] {
			t.Errorf("%d events were handled: %v", len(r.handled), r.numbers)
		}
		if p.caps.Durable {
			p.takeOver(t, b, r, sent)
		} else if r.numbers["back"] != 0 || len(r.handled) < p.drainBacklog() {
			t.Errorf("of %d events that were received %d were handled: %v", p.drainBacklog(), len(r.handled), r.numbers)
		}
		p.inTime(t, r)
		figures(t, fmt.Sprintf("%s: SIGTERM with %d handlers in flight: %d events, %d handled before, %d while Close took %v with handlers "+
			"of %v, %d by the next process; repeated %d, dead letters %d; a Close within %v named the handler that does not end after %v\n",
			p.scheme(), drainHandlers, sent, r.numbers["before"], r.numbers["after"]-r.numbers["before"],
			r.took("closed").Round(time.Millisecond), drainLongest, r.next, r.repeated, r.numbers["failed"], drainDeadline,
			r.took("gave_up").Round(time.Millisecond)))
	}
}

// takeOver is the next process of the group, which gets what the other one has not handled, and nothing else.
func (p *place) takeOver(t *testing.T, b *bus.Bus, r *drainReport, sent int) {
	t.Helper()
	d := &diary{}
	if _, err := b.Subscribe(p.subscription("told", d.handle)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next process has handled the rest", func() bool { return d.len()+len(r.handled) >= sent })
	for _, id := range d.all() {
		r.handled[id]++
		r.next++
	}
	for id, n := range r.handled {
		if n > 1 {
			r.repeated++
			t.Errorf("event %s was handled %d times", id, n)
		}
	}
	if len(r.handled) != sent {
		t.Errorf("of %d events %d were handled", sent, len(r.handled))
	}
	// Else all that the process held would have been handled first.
	if during := r.numbers["after"] - r.numbers["before"]; during > 7*drainHandlers {
		t.Errorf("Close handed out %d events", during)
	}
}

// inTime checks how long Close took: the longest handler and half a second, or where what was received cannot be given back as often as
// the handlers' turns. A run beside others shows that it ends.
func (p *place) inTime(t *testing.T, r *drainReport) {
	t.Helper()
	turns := 1
	if !p.caps.Durable {
		turns = (r.numbers["after"] - r.numbers["before"] + drainHandlers - 1) / drainHandlers
	}
	most := time.Duration(turns)*drainLongest + drainReserve
	if inFull && (r.took("closed") > most || r.took("gave_up") > drainDeadline+drainReserve) {
		t.Errorf("Close took %v, at most %v; with a handler that does not end %v, at most %v", r.took("closed"), most,
			r.took("gave_up"), drainDeadline+drainReserve)
	}
}

// tellToEnd starts the process, tells it to end once its handlers run, calls then, and returns what it said.
func (p *place) tellToEnd(t *testing.T, then func()) *drainReport {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDrainee$", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), envDraineeURL+"="+p.url, envDraineeRow+"="+strconv.Itoa(p.row))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &drainReport{handled: make(map[string]int), named: make(map[string]bool), numbers: make(map[string]int)}
	var rest []string
	for s := bufio.NewScanner(out); s.Scan(); {
		said, ok := strings.CutPrefix(s.Text(), "drainee: ")
		what, value, _ := strings.Cut(said, " ")
		switch {
		case !ok:
			rest = append(rest, s.Text())
		case what == "running":
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			then()
		case what == "handled":
			r.handled[value]++
		case what == "named":
			r.named[value] = true
		default:
			r.numbers[what], _ = strconv.Atoi(value)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the process that was told to end: %v: %s", err, strings.Join(rest, "\n"))
	}
	return r
}
