package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

var (
	_ brokers.Provisioner = (*jet)(nil)
	_ brokers.Lagger      = (*jet)(nil)
)

// manage calls f with a client of JetStream's API, off the caller's goroutine, which waits no longer than ctx. A user who may
// not ask gets no reply but a denial, which ends f's context and is the error then.
func (c *jet) manage(ctx context.Context, f func(ctx context.Context, js jetstream.JetStream) error) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	if !c.execs.Enter() {
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer c.execs.Leave()
		done <- brokers.Contain(func() error {
			s, err := c.pub.Now(ctx)
			if err == nil {
				err = s.manage(ctx, f)
			}
			return err
		})
	}()
	return lifetime.Outcome(ctx, done)
}

// manage calls f, whose context ends with the first denial of a request to JetStream.
func (s *session) manage(ctx context.Context, f func(ctx context.Context, js jetstream.JetStream) error) error {
	js, err := jetstream.New(s.nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := s.denials()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := brokers.Contain(func() error { return s.awaitDenial(ctx, before) }); err != nil {
			cancel(err)
		}
	}()
	err = f(ctx, js)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-watched
	return err
}

// awaitDenial returns the first denial of a request to JetStream after the first before ones, or nil when ctx ends.
func (s *session) awaitDenial(ctx context.Context, before uint64) error {
	for {
		news := s.news()
		if denied := deniedAPI(s.after(before), nil); denied != nil {
			return denied
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil
		}
	}
}

// Provision makes the streams that the channels need and that nobody has made yet, and a durable consumer for each group and stream.
// It needs the rights to publish to $JS.API.STREAM.INFO, NAMES, CREATE and UPDATE and to $JS.API.CONSUMER.INFO and CREATE.
func (c *jet) Provision(ctx context.Context, p brokers.Provision) error {
	if !c.set.jet.create {
		return &setupError{errors.New("create=false forbids to make streams and consumers: provision with another account")}
	}
	var feeds []*feed
	for _, g := range p.Groups {
		patterns, err := readChannels(g.Group, g.Channels)
		if err != nil {
			return err
		}
		some, err := newFeeds(brokers.Subscription{Name: g.Group, Group: g.Group, Start: g.Start}, patterns, c.set.jet)
		if err != nil {
			return err
		}
		feeds = append(feeds, some...)
	}
	for _, channel := range p.Channels {
		if err := brokers.CheckChannel(channel); err != nil {
			return badChannel{err}
		}
	}
	return c.manage(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		for _, channel := range p.Channels {
			key, _ := c.set.jet.streamKey(channel) // it fails for wildcards only
			if _, err := c.set.jet.ensureStream(ctx, js, key); err != nil {
				return fmt.Errorf("the stream for channel %q: %w", channel, err)
			}
		}
		for _, f := range feeds {
			if _, _, err := f.attach(ctx, js, newLeases()); err != nil {
				return fmt.Errorf("the consumer of group %q: %w", f.group, err)
			}
		}
		return nil
	})
}

// Lag returns how far a group is behind. The server counts by consumer: where that reads several channels and is behind, Pending is
// -1, and Oldest is unknown while anything is unsettled. It needs the rights to publish to $JS.API.STREAM.NAMES,
// $JS.API.STREAM.INFO, $JS.API.CONSUMER.LIST, $JS.API.STREAM.MSG.GET and, to count the channels of one consumer apart,
// $JS.API.CONSUMER.CREATE and DELETE; with create=false Waiting is -1 there.
func (c *jet) Lag(ctx context.Context, group string, channels []string) ([]brokers.Lag, error) {
	var out []brokers.Lag
	err := c.manage(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		l := lagging{js: js, group: group, create: c.set.jet.create, consumers: make(map[string][]*jetstream.ConsumerInfo)}
		for _, channel := range channels {
			lag, reads, err := l.of(ctx, channel)
			if err != nil {
				return err
			}
			if reads {
				out = append(out, lag)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// lagging is one call of Lag.
type lagging struct {
	js        jetstream.JetStream
	group     string
	create    bool
	consumers map[string][]*jetstream.ConsumerInfo // of the group, by stream
}

// of returns the lag on one channel, over all consumers of the group that read it; false where none does.
func (l *lagging) of(ctx context.Context, channel string) (lag brokers.Lag, reads bool, err error) {
	lag.Channel = channel
	name, err := l.js.StreamNameBySubject(ctx, channel)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return lag, false, nil
	}
	if err != nil {
		return lag, false, setupFault(err)
	}
	stream, err := l.js.Stream(ctx, name)
	if err != nil {
		return lag, false, setupFault(err)
	}
	if err := l.list(ctx, stream, name); err != nil {
		return lag, false, setupFault(err)
	}
	for _, info := range l.consumers[name] {
		if !readsChannel(info, channel) {
			continue
		}
		reads = true
		one, err := l.behind(ctx, stream, info, channel)
		if err != nil {
			return lag, false, setupFault(err)
		}
		lag.Waiting, lag.Pending = sum(lag.Waiting, one.Waiting), sum(lag.Pending, one.Pending)
		if lag.Oldest.IsZero() || !one.Oldest.IsZero() && one.Oldest.Before(lag.Oldest) {
			lag.Oldest = one.Oldest
		}
	}
	return lag, reads, nil
}

// sum adds counts of which -1 means that one is unknown.
func sum(a, b int64) int64 {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

// list asks for the consumers of a stream, once, and keeps the group's: their names say whose they are.
func (l *lagging) list(ctx context.Context, stream jetstream.Stream, name string) error {
	if _, done := l.consumers[name]; done {
		return nil
	}
	l.consumers[name] = nil
	lister := stream.ListConsumers(ctx)
	for info := range lister.Info() {
		if info.Name == durableName(l.group, filtersOf(info)) {
			l.consumers[name] = append(l.consumers[name], info)
		}
	}
	return lister.Err()
}

// filtersOf returns the subjects that a consumer reads; the server keeps a single one in a field of its own.
func filtersOf(info *jetstream.ConsumerInfo) []string {
	if info.Config.FilterSubject != "" {
		return []string{info.Config.FilterSubject}
	}
	return info.Config.FilterSubjects
}

func readsChannel(info *jetstream.ConsumerInfo, channel string) bool {
	for _, f := range filtersOf(info) {
		if takes(f, channel) {
			return true
		}
	}
	return false
}

// behind returns the lag of one consumer on one of the channels that it reads.
func (l *lagging) behind(
	ctx context.Context, stream jetstream.Stream, info *jetstream.ConsumerInfo, channel string,
) (lag brokers.Lag, err error) {
	lag.Waiting, lag.Pending = int64(info.NumPending), int64(info.NumAckPending)
	from := info.AckFloor.Stream + 1
	if filters := filtersOf(info); len(filters) != 1 || filters[0] != channel {
		if lag.Pending > 0 {
			lag.Pending, from = -1, 0
		}
		switch {
		case lag.Waiting > 0 && !l.create:
			lag.Waiting = -1
		case lag.Waiting > 0:
			lag.Waiting = waitingOf(ctx, stream, info.Delivered.Stream+1, channel)
		}
	}
	if lag.Waiting == 0 && lag.Pending == 0 || from == 0 {
		return lag, nil
	}
	first, err := stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(channel))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return lag, nil
	}
	if err == nil {
		lag.Oldest = first.Time
	}
	return lag, err
}

// waitingOf counts the messages of a channel from a sequence on: as a consumer that nobody reads, which the server forgets at once.
// It returns -1 where that may not be.
func waitingOf(ctx context.Context, stream jetstream.Stream, from uint64, channel string) int64 {
	counter, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		FilterSubject: channel, InactiveThreshold: time.Second, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return -1
	}
	n := int64(counter.CachedInfo().NumPending)
	_ = stream.DeleteConsumer(ctx, counter.CachedInfo().Name) // else the server forgets it after a second
	return n
}
