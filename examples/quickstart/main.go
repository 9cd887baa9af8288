// Quickstart runs the user service's events from end to end, in one program and with nothing installed:
//
//	go run ./examples/quickstart
//
// Three services (auth.go, user.go, mfa.go) keep their data in SQLite. Whenever a transaction has committed they
// publish what has happened, and know of the bus nothing but the interface bus.Publisher. Five subscribers
// (subscribers.go) each do something about it that you can see. Between the two stands a broker, which is a URL:
// without one, the program brings a small Redis of its own (broker.go). The story that is told is in story.go.
//
// In the end the program gives an account. What should have been delivered is counted by tally.go, which shares no code
// with the bus; where anything was dropped or lost, the exit status is 1.
//
//	-url URL      the broker, such as redis://localhost:6379 or memory:// (default: EVENTBUS_URL)
//	-serve        tell the story once a second, until interrupted
//	-pace D       the pause after each scene (default 100ms)
//	-patience D   how long to wait for the last deliveries in the end (default 5s)
//	-drop N       swallow N deliveries before their handler sees them, to show that the account notices
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eventbus-go/eventbus/bus"
)

// options are the command line.
type options struct {
	url      string
	serve    bool
	pace     time.Duration
	patience time.Duration
	drop     int
}

func main() {
	var opts options
	flag.StringVar(&opts.url, "url", "", "the broker's `URL` (default: "+bus.EnvURL+", else a broker of our own)")
	flag.BoolVar(&opts.serve, "serve", false, "tell the story once a second, until interrupted")
	flag.DurationVar(&opts.pace, "pace", 100*time.Millisecond, "the pause after each scene")
	flag.DurationVar(&opts.patience, "patience", 5*time.Second, "how long to wait for the last deliveries in the end")
	flag.IntVar(&opts.drop, "drop", 0, "swallow `N` deliveries, to show that the account notices")
	flag.Parse()
	if opts.url == "" { // not as the flag's default: -help prints defaults, and this one may hold a password
		opts.url = os.Getenv(bus.EnvURL)
	}

	clean, err := run(context.Background(), opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
	}
	if !clean {
		os.Exit(1)
	}
}

// run returns whether everything that was published was delivered.
func run(ctx context.Context, opts options) (clean bool, err error) {
	out := &console{w: os.Stdout}
	url, stopBroker, err := chooseBroker(out, opts.url)
	if err != nil {
		return false, err
	}
	defer stopBroker()
	b, err := bus.Open(ctx, url)
	if err != nil {
		return false, err
	}
	defer closeWithin(ctx, b, time.Second) // for the early returns: a second Close does nothing
	db, err := openDatabases(ctx)
	if err != nil {
		return false, err
	}
	defer db.close()

	// The services publish to the tally, which is a bus.Publisher as well: it writes the events down and passes them
	// on.
	tally := newTally(b)
	subscribers := newSubscribers(out, db)
	s := &story{
		out:   out,
		pace:  opts.pace,
		auth:  &authService{db: db.users, events: tally},
		users: &userService{db: db.users, events: tally},
		mfa:   &mfaService{db: db.users, events: tally},
		cache: subscribers.authorisation,
	}
	if err := subscribe(b, tally, subscribers, opts.drop); err != nil {
		return false, err
	}

	// From here on, an interrupt ends the story and not the program: what was published is still to be delivered.
	interrupted, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(interrupted, stop) // a second interrupt ends the program at once
	if err := startReceiving(interrupted, b); err != nil {
		return false, fmt.Errorf("%w\n%s", err, remedy)
	}
	told := s.tell(interrupted, opts.serve)

	// Nothing more is published. First wait for what is on its way, then close: the other way round would lose it.
	tally.settle(ctx, opts.patience)
	closed := closeWithin(ctx, b, opts.patience)
	reported := subscribers.report(ctx)
	clean = account(out, tally, b.Stats())
	err = errors.Join(told, closed, reported)
	return clean && err == nil, err
}

// subscribe adds the subscribers to the bus, each with the tally behind it that writes down what it has handled.
func subscribe(b *bus.Bus, t *tally, s *subscribers, drop int) error {
	s.out.line("")
	for _, sub := range s.subscriptions() {
		if sub.Name == "audit" && drop > 0 {
			sub.Middleware = append(sub.Middleware, swallow(s.out, drop))
		}
		sub.Middleware = append(sub.Middleware, t.handled(sub.Name))
		added, err := b.Subscribe(sub)
		if err != nil {
			return err
		}
		s.out.effect(sub.Name, "reads %s", added.Channels()[0])
	}
	return nil
}

// account prints the last line, and returns whether nothing was dropped or lost.
func account(out *console, t *tally, st bus.Stats) (clean bool) {
	published, delivered, lost := t.totals()
	dropped := droppedByBus(st)
	out.line("published %d, delivered %d, dropped %d, lost %d", published, delivered, dropped, lost)
	return dropped == 0 && lost == 0
}

// droppedByBus is what the bus itself says that it gave up: when publishing, and when delivering.
func droppedByBus(st bus.Stats) int64 {
	n := st.Published.DroppedTotal() + st.Published.Rejected + st.Refused
	for _, s := range st.Subscriptions {
		for _, d := range s.Dropped {
			n += d
		}
	}
	return n
}
