package nats

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// acks receives the confirmations of one session.
type acks struct {
	prefix string

	mu     sync.Mutex
	number uint64
	chunks map[string]*chunk // by number in base 36
}

// openAcks subscribes to the session's confirmations.
func openAcks(s *session) error {
	a := &acks{prefix: natsgo.NewInbox() + ".", chunks: make(map[string]*chunk)}
	sub, err := s.nc.Subscribe(a.prefix+"*.*", a.receive)
	if err != nil {
		return err
	}
	s.acks = a
	return sub.SetPendingLimits(-1, -1) // the window bounds it
}

// add awaits the confirmations of a chunk, and reports false where it was removed already: suppose its call ended at that moment,
// then nobody would ever remove it.
func (a *acks) add(c *chunk) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.removed {
		return false
	}
	a.number++
	c.name = strconv.FormatUint(a.number, 36)
	a.chunks[c.name] = c
	return true
}

func (a *acks) remove(c *chunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.removed = true
	delete(a.chunks, c.name)
}

// receive is called with each confirmation, on a goroutine of the client's.
func (a *acks) receive(m *natsgo.Msg) {
	name, index, ok := strings.Cut(m.Subject[len(a.prefix):], ".")
	i, err := strconv.Atoi(index)
	if !ok || err != nil {
		return
	}
	a.mu.Lock()
	c := a.chunks[name]
	a.mu.Unlock()
	if c != nil {
		c.settle(i, readAck(m))
	}
}

// readAck returns why a message was not taken, or nil
// (https://docs.nats.io/reference/reference-protocols/nats_api_reference#pub-ack).
func readAck(m *natsgo.Msg) error {
	if len(m.Data) == 0 {
		return errNoStream // the status 503: nobody listens on the channel
	}
	if !strings.Contains(string(m.Data), `"error"`) {
		return nil
	}
	var reply struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return err
	}
	if reply.Error == nil {
		return nil
	}
	return reply.Error
}
