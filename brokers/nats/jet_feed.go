package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	// pullExpires is how long the server keeps a request for messages, and heartbeat how often it says that it still does.
	pullExpires = 30 * time.Second
	heartbeat   = 1500 * time.Millisecond
	// silence is after how long without either a request counts as forgotten.
	silence = 2*heartbeat + 500*time.Millisecond
	// maxAckPending bounds the messages of a group that are not settled, those included that wait for their redelivery.
	maxAckPending = 1 << 16
	// inactive is after how long without its subscription the server forgets a consumer that belongs to no group.
	inactive = 5 * time.Minute
)

// errConsumerGone is why a consumer has to be made again.
var errConsumerGone = errors.New("the consumer or its stream was deleted")

// A feed is the consumer on one stream that a subscription pulls from. It outlives sessions.
type feed struct {
	key      string // see jetSettings.streamKey
	stream   string
	name     string // of the consumer
	group    string
	start    brokers.Start
	filters  []string
	set      jetSettings
	settings jetstream.ConsumerConfig // as the server has it

	created time.Time // when the stream was made that the positions are of
	existed bool      // the consumer was there once, as far as this process knows
	floor   uint64    // all messages of the stream up to this one were settled, as far as this process knows
	last    uint64    // the last message that was received
	clock   reading   // of the server, the last one
	jolt    jolt

	// Of the current session:
	sub     *natsgo.Subscription
	inbox   string
	asked   int       // messages that were asked for and have not come
	number  uint64    // of the last request
	heard   time.Time // when the server last said anything about the requests
	request []byte
}

// newFeeds returns the feeds of a subscription, one for each stream that its patterns need.
func newFeeds(s brokers.Subscription, patterns []brokers.Pattern, set jetSettings) ([]*feed, error) {
	var out []*feed
	byKey := make(map[string][]brokers.Pattern)
	for _, p := range patterns {
		key, err := set.streamKey(p.String())
		if err != nil {
			return nil, err
		}
		if byKey[key] == nil {
			out = append(out, &feed{key: key, group: s.Group, start: s.Start, set: set})
		}
		byKey[key] = append(byKey[key], p)
	}
	for _, f := range out {
		f.filters = filters(byKey[f.key])
		if f.name = durableName(f.group, f.filters); f.group == "" {
			f.name = safeName(s.Name) + "-" + natsgo.NewInbox()[len(natsgo.InboxPrefix):]
		}
	}
	return out, nil
}

// attach makes sure that there is a stream and a consumer. It reports whether the consumer had to be made although it
// was there before, and whether its stream had to be, too.
func (f *feed) attach(ctx context.Context, js jetstream.JetStream, held *leases) (again, emptied bool, err error) {
	sent := time.Now()
	if f.stream, err = f.set.ensureStream(ctx, js, f.key); err != nil {
		return false, false, err
	}
	stream, err := js.Stream(ctx, f.stream)
	if err != nil {
		return false, false, setupFault(err)
	}
	// Suppose the stream was deleted and made again: its sequence begins anew, and may have passed our positions already.
	created := stream.CachedInfo().Created
	emptied = f.existed && !created.Equal(f.created)
	f.created = created
	if emptied {
		held.forgetDelays(f.stream)
	}
	consumer, err := js.Consumer(ctx, f.stream, f.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if f.group != "" && !f.set.create {
			return false, emptied, &setupError{fmt.Errorf("stream %s has no consumer %s for the group %q, and create=false forbids "+
				"to make one", f.stream, f.name, f.group)}
		}
		again = f.existed
		consumer, err = js.CreateConsumer(ctx, f.stream, f.config(held, emptied))
		if errors.Is(err, jetstream.ErrConsumerExists) { // another member was quicker
			consumer, err = js.Consumer(ctx, f.stream, f.name)
		}
	}
	if err != nil {
		return again, emptied, setupFault(err)
	}
	f.existed = true
	info := consumer.CachedInfo()
	if f.clock.got.IsZero() { // else the next look compares, and can put right what it finds
		f.readClock(reading{sent, time.Now(), info.TimeStamp})
	}
	f.learn(info, emptied)
	return again, emptied, nil
}

func (f *feed) learn(info *jetstream.ConsumerInfo, emptied bool) {
	f.settings = info.Config
	if emptied {
		f.last, f.floor = 0, 0
	}
	f.floor = max(f.floor, info.AckFloor.Stream)
	if f.group == "" && f.last == 0 {
		f.last = info.Delivered.Stream
	}
}

// config is that of the consumer. One that was deleted begins where everything before was settled, as far as this process
// knows: rather twice than not at all.
func (f *feed) config(held *leases, emptied bool) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Name: f.name, FilterSubjects: f.filters, AckPolicy: jetstream.AckExplicitPolicy, AckWait: f.set.ackWait,
		MaxDeliver: -1, MaxAckPending: maxAckPending, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if f.group != "" {
		c.Durable = f.name
	} else {
		c.InactiveThreshold = inactive
	}
	switch {
	case f.existed && emptied:
	case f.existed:
		next := f.floor
		if f.group == "" {
			next = f.last
		}
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, held.lowest(f.stream, next+1)
	case f.group == "" || f.start == brokers.StartNow:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return c
}

// open subscribes to what a session's requests bring.
func (f *feed) open(s *session, in chan *natsgo.Msg) (err error) {
	f.inbox = natsgo.NewInbox()
	f.asked, f.heard = 0, time.Now()
	f.sub, err = s.nc.ChanSubscribe(f.inbox+".*", in)
	return err
}

// ask requests n more messages.
func (f *feed) ask(s *session, n int) error {
	f.number++
	var err error
	f.request, err = json.Marshal(struct {
		Batch     int           `json:"batch"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{n, pullExpires, heartbeat})
	if err != nil {
		return err
	}
	if f.asked == 0 {
		f.heard = time.Now()
	}
	f.asked += n
	subject := "$JS.API.CONSUMER.MSG.NEXT." + f.stream + "." + f.name
	return s.nc.PublishRequest(subject, f.inbox+"."+strconv.FormatUint(f.number, 36), f.request)
}

// status reads a message that is none of a channel but about a request
// (https://github.com/nats-io/nats-architecture-and-design, ADR-37). It returns errConsumerGone where there is no use in
// asking again.
func (f *feed) status(m *natsgo.Msg) error {
	f.heard = time.Now()
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	if left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages")); err == nil && code != "100" {
		f.asked = max(0, f.asked-left)
	} else if code == "404" || code == "408" || code == "409" {
		f.asked = 0
	}
	if code == "503" || code == "409" && text == "Consumer Deleted" {
		return errConsumerGone
	}
	return nil
}

// poll asks the server for the consumer's state: it may have been deleted without a word, the floor moves, and so does its clock.
func (f *feed) poll(ctx context.Context, js jetstream.JetStream) (info *jetstream.ConsumerInfo, jumped time.Duration, err error) {
	sent := time.Now()
	consumer, err := js.Consumer(ctx, f.stream, f.name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, 0, errConsumerGone
	case err != nil:
		return nil, 0, err
	}
	info = consumer.CachedInfo()
	f.floor = max(f.floor, info.AckFloor.Stream)
	return info, f.readClock(reading{sent, time.Now(), info.TimeStamp}), nil
}

// position is where a message is kept, for logs.
func (o origin) position() string { return o.stream + ":" + strconv.FormatUint(o.seq, 10) }
