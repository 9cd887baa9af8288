package brokertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Harness tells the suite how to reach the broker under test. Only Open is required.
type Harness struct {
	// Open returns a new connection to the one broker under test. It is called several times in one case; the suite
	// closes what it returns.
	Open func(ctx context.Context) (brokers.Conn, error)

	// Channel returns a channel name that was never used on this broker. The suite also uses names below it, such as
	// name + ".a.b". Nil means random names.
	Channel func() string

	// Carries says which fields travel beside the body. Those arrive; the others arrive or are empty.
	Carries Fields

	// Inject publishes body on channel as a foreign client would, without headers. The channel may break our grammar.
	// Nil where there can be no foreign client.
	Inject func(channel string, body []byte) error

	// Kill ends the broker at once, as SIGKILL does; Restart brings it back at the same address. Both return when it is
	// done. Nil where the broker lives in the test's process.
	Kill, Restart func() error

	// Freeze stops the broker with its connections open, as SIGSTOP does; Thaw lets it go on.
	Freeze, Thaw func() error

	// Cut breaks the connections of all clients, while the broker lives on.
	Cut func() error

	// Server says what Open reaches, for the report of a test run: see EnvCases. Where its Scheme is empty nothing is
	// reported.
	Server Server

	// Lease is how long the broker leaves a delivery to a consumer that is dead, as the connections of Open have it: an
	// acknowledgement wait, an idle time, a session timeout. 0 where there are no leases, or none short enough for a test.
	Lease time.Duration

	// Consume starts a consumer of s in another process, which calls handle with the body of each delivery, one after the
	// other, and acks it where handle returned true. kill ends the process as SIGKILL does and returns when it is gone.
	// [Reexec] makes one out of the test binary itself.
	Consume func(ctx context.Context, s brokers.Subscription, handle func(body []byte) bool) (kill func() error, err error)

	// AcksInMemory is how long acks may be kept, by the broker or by the driver, before they survive the broker's death: what
	// was acked so shortly before a kill counts as in flight. 0 where an ack that was answered is stored.
	AcksInMemory time.Duration

	// AcksKept is how many acks may be kept by the driver before they survive the broker's death, where it bounds their number:
	// so many count as in flight, too.
	AcksKept int

	// Delete has what can be deleted under a running consumer, by the broker's own word such as "stream" or "group", and
	// how to delete it for a channel and a group.
	Delete map[string]func(channel, group string) error

	// Churn is how often a member of a group joins or leaves where that is tested. 0 means 2 s, and less in the short form.
	Churn time.Duration

	// ReadsAhead says that the driver's client fetches messages and keeps them behind one that is not settled yet, where no other
	// consumer gets them until it is taken for dead. Then neither the bound of Prefetch is tested, nor that others pass an event
	// that always fails.
	ReadsAhead bool

	// Backlog is how many bodies of 1 KiB are more than a driver without durability keeps for a sink that blocks. 0 means
	// 20,000.
	Backlog int

	// Short says which cases run in the short form, where others show on connections to the same broker what the rest would show
	// again. Nil means all of them; in full size all of them run in any case.
	Short func(Case) bool

	// Patience is the longest wait for what must come. 0 means 30 s.
	Patience time.Duration

	// IgnoreGoroutines are parts of stacks of goroutines that outlive a connection rightly, such as those of a server
	// that runs in the test's process.
	IgnoreGoroutines []string

	// watch is how long the suite watches that something does not happen, where no later message could show it, and delay
	// is the unit of the delays that it asks for. The suite's own tests make both long: a breach ends them at once.
	watch, delay time.Duration
}

// A Server is what a driver's connections reach.
type Server struct {
	Scheme  string // of the URL, such as "nats+js"
	Version string // the server's own, such as "2.15.2"
	Real    bool   // a process of its own, and not a fake in the test's process
}

// Fields are the fields of a Message that a broker carries beside the body.
type Fields struct {
	ID, Type, Key, Priority, Time, Headers bool
}

// AllFields is what a broker with headers of its own carries.
var AllFields = Fields{ID: true, Type: true, Key: true, Priority: true, Time: true, Headers: true}

var channelCount atomic.Int64

func (h Harness) withDefaults() Harness {
	if h.Channel == nil {
		run := rand.Uint64()
		h.Channel = func() string { return fmt.Sprintf("brokertest-%x.c%d", run, channelCount.Add(1)) }
	}
	if h.Backlog == 0 {
		h.Backlog = 20_000
	}
	if h.Patience == 0 {
		h.Patience = 30 * time.Second
	}
	if h.watch == 0 {
		h.watch = brief
	}
	if h.delay == 0 {
		h.delay = 100 * time.Millisecond
	}
	return h
}
