package faults

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// channels are those of the numbered events, by the default rules.
var channels = []string{"user_service.events.authz", "user_service.events.security", "user_service.events.all"}

// numbered makes the i-th event of a test. It goes to all of channels.
func numbered(i int) schema.Event {
	user := int64(i % 5000)
	e := userservice.NewRoleAssigned(userservice.RoleAssignedPayload{
		UserID: user, RoleName: "trader", CurrentRoles: []string{"user", "trader"},
	}, 1)
	e.ID = fmt.Sprintf("n%07d", i)
	return e
}

// number returns i of the i-th event, or -1.
func number(id string) int {
	if len(id) != 8 {
		return -1
	}
	i, err := strconv.Atoi(id[1:])
	if err != nil {
		return -1
	}
	return i
}

// A witness stands between the bus and the driver and writes down what the driver was asked to send and what it said of
// it: the second set of books.
type witness struct {
	brokers.Conn
	began time.Time

	mu        sync.Mutex
	sends     []send // by event and channel
	confirmed int64
}

// A send is the last attempt to send a message.
type send struct {
	from, to time.Duration // after the witness began
	tries    int32
	outcome  brokers.Outcome
}

// newWitness opens a connection with room for so many numbered events.
func newWitness(t *testing.T, url string, events int) *witness {
	t.Helper()
	conn, err := brokers.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{Conn: conn, began: time.Now(), sends: make([]send, events*len(channels))}
}

// Publish implements brokers.Conn.
func (w *witness) Publish(ctx context.Context, msgs []brokers.Message) error {
	from := time.Since(w.began)
	err := w.Conn.Publish(ctx, msgs)
	to := time.Since(w.began)
	outcomes := make([]brokers.Outcome, len(msgs))
	var failed *brokers.BatchError
	if errors.As(err, &failed) {
		for _, f := range failed.Failed {
			outcomes[f.Index] = f.Outcome
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range msgs {
		s := w.of(number(msgs[i].ID), msgs[i].Channel)
		s.from, s.to, s.outcome = from, to, outcomes[i]
		s.tries++
		if s.outcome == brokers.Confirmed {
			w.confirmed++
		}
	}
	return err
}

// Ping implements brokers.Pinger.
func (w *witness) Ping(ctx context.Context) error { return w.Conn.(brokers.Pinger).Ping(ctx) }

func (w *witness) of(event int, channel string) *send {
	for c := range channels {
		if channels[c] == channel {
			return &w.sends[event*len(channels)+c]
		}
	}
	panic("a channel that no numbered event goes to: " + channel)
}

// confirmations is how many messages the driver has confirmed so far.
func (w *witness) confirmations() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.confirmed
}

// account is what became of the messages of the first events, by the witness.
type account struct{ confirmed, unknown, rejected, unsent, never int64 }

func (w *witness) account(events int) (a account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.sends[:events*len(channels)] {
		switch s := &w.sends[i]; {
		case s.tries == 0:
			a.never++
		case s.outcome == brokers.Confirmed:
			a.confirmed++
		case s.outcome == brokers.Unknown:
			a.unknown++
		case s.outcome == brokers.Rejected:
			a.rejected++
		default:
			a.unsent++
		}
	}
	return a
}

// agrees compares the ledger of a bus at rest, which so many events were given to, with the witness, line by line.
func (w *witness) agrees(t *testing.T, l bus.Ledger, events int) {
	t.Helper()
	a := w.account(events)
	for _, line := range []struct {
		name      string
		got, want int64
	}{
		{"accepted", l.Accepted, int64(events * len(channels))},
		{"confirmed", l.Confirmed, a.confirmed},
		{"rejected", l.Rejected, a.rejected},
		{"queued", l.Queued, 0},
		{"dropped as unconfirmed", l.Dropped[bus.DropUnconfirmed], a.unknown},
		{"dropped before or instead of sending", l.DroppedTotal() - l.Dropped[bus.DropUnconfirmed], a.never + a.unsent},
	} {
		if line.got != line.want {
			t.Errorf("%s: the ledger says %d, the driver's side says %d", line.name, line.got, line.want)
		}
	}
}
