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

	// Backlog is how many bodies of 1 KiB are more than a driver without durability keeps for a sink that blocks. 0 means
	// 20,000.
	Backlog int

	// Patience is the longest wait for what must come. 0 means 10 s.
	Patience time.Duration

	// IgnoreGoroutines are parts of stacks of goroutines that outlive a connection rightly, such as those of a server
	// that runs in the test's process.
	IgnoreGoroutines []string

	// watch is how long the suite watches that something does not happen, where no later message could show it, and delay
	// is the unit of the delays that it asks for. The suite's own tests make both long: a breach ends them at once.
	watch, delay time.Duration
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
		h.Patience = 10 * time.Second
	}
	if h.watch == 0 {
		h.watch = brief
	}
	if h.delay == 0 {
		h.delay = 100 * time.Millisecond
	}
	return h
}
