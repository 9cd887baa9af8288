package watermill_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/watermill"
)

// A fakePublisher does what publish does.
type fakePublisher struct {
	publish func(topic string, msgs ...*message.Message) error
	closed  bool
}

func (p *fakePublisher) Publish(topic string, msgs ...*message.Message) error {
	return p.publish(topic, msgs...)
}
func (p *fakePublisher) Close() error { p.closed = true; return nil }

// A fakeSubscriber hands out the channels of subscribe, one for each Subscribe.
type fakeSubscriber struct {
	subscribe func(ctx context.Context, topic string) (<-chan *message.Message, error)
	closed    atomic.Bool
}

func (s *fakeSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return s.subscribe(ctx, topic)
}
func (s *fakeSubscriber) Close() error { s.closed.Store(true); return nil }

func connOf(t *testing.T, cfg watermill.ConnConfig) brokers.Conn {
	t.Helper()
	conn, err := watermill.NewConn(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// outcomes returns the outcome of each of n messages.
func outcomes(t *testing.T, n int, err error) []brokers.Outcome {
	t.Helper()
	out := make([]brokers.Outcome, n)
	batch := new(brokers.BatchError)
	if err != nil && !errors.As(err, &batch) {
		t.Fatalf("Publish returned a %T: %v", err, err)
	}
	for _, f := range batch.Failed {
		out[f.Index] = f.Outcome
	}
	return out
}

func onChannels(channels ...string) []brokers.Message {
	var out []brokers.Message
	for _, c := range channels {
		out = append(out, brokers.Message{ID: "id-" + c, Channel: c, Body: []byte("x")})
	}
	return out
}

func TestAPublisherThatBlocksIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var published []string
		pub := &fakePublisher{publish: func(topic string, _ ...*message.Message) error {
			if topic == "b" {
				<-release
			}
			published = append(published, topic)
			return nil
		}}
		conn := connOf(t, watermill.ConnConfig{Publisher: pub})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		got := outcomes(t, 4, conn.Publish(ctx, onChannels("a", "b", "b", "c")))
		want := []brokers.Outcome{brokers.Confirmed, brokers.Unknown, brokers.Unknown, brokers.NotSent}
		if took := time.Since(began); took != time.Second || !slices.Equal(got, want) {
			t.Errorf("after %v the outcomes are %v, want %v", took, got, want)
		}
		close(release)
		synctest.Wait()
		if !slices.Equal(published, []string{"a", "b"}) {
			t.Errorf("published to %v: what was NotSent must not be sent", published)
		}
		if err := conn.Close(t.Context()); err != nil || pub.closed {
			t.Errorf("Close: %v, and the Publisher was closed: %v", err, pub.closed)
		}
	})
}

func TestCallsThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		pub := &fakePublisher{publish: func(string, ...*message.Message) error { calls.Add(1); <-release; return nil }}
		conn := connOf(t, watermill.ConnConfig{Publisher: pub, MaxStuck: 2})
		for i, want := range []brokers.Outcome{brokers.Unknown, brokers.Unknown, brokers.NotSent, brokers.NotSent} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := conn.Publish(ctx, onChannels("a"))
			cancel()
			if got := outcomes(t, 1, err)[0]; got != want || !conn.Retryable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("call %d is %v, want %v: %v", i+1, got, want, err)
			}
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls hang, want 2", n)
		}
		close(release)
		synctest.Wait()
		if err := conn.Publish(t.Context(), onChannels("a")); err != nil {
			t.Errorf("once they have returned: %v", err)
		}
	})
}

func TestAnErrorOfThePublisherIsWhatItIsSaidToBe(t *testing.T) {
	errFull := errors.New("quota")
	pub := &fakePublisher{publish: func(topic string, _ ...*message.Message) error {
		switch topic {
		case "panics":
			panic("oh")
		case "full":
			return errFull
		}
		return io.ErrUnexpectedEOF
	}}
	conn := connOf(t, watermill.ConnConfig{
		Publisher: pub, Promises: brokers.Capabilities{MaxBytes: 10},
		Outcome: func(err error) brokers.Outcome {
			if errors.Is(err, errFull) {
				return brokers.Rejected
			}
			return brokers.Unknown
		},
	})
	for topic, want := range map[string]brokers.Outcome{
		"full": brokers.Rejected, "broken": brokers.Unknown, "panics": brokers.Unknown,
	} {
		err := conn.Publish(t.Context(), onChannels(topic, "next"))
		if got := outcomes(t, 2, err); got[0] != want || got[1] != brokers.NotSent {
			t.Errorf("%s: %v", topic, got)
		}
		if got := conn.Retryable(err); got != (topic == "broken") {
			t.Errorf("%s: %v is retryable: %v", topic, err, got)
		}
	}
	long := brokers.Message{ID: "1", Channel: "a", Body: []byte(strings.Repeat("x", 11))}
	if got := outcomes(t, 1, conn.Publish(t.Context(), []brokers.Message{long})); got[0] != brokers.Rejected {
		t.Errorf("a body over MaxBytes is %v", got)
	}
}

// A fakeSink acks what it gets, unless onDeliver does something else.
type fakeSink struct {
	mu        sync.Mutex
	ready     int
	got       []brokers.Delivery
	gaps      []brokers.Gap
	onDeliver func(brokers.Delivery)
}

func (s *fakeSink) Ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready++
}

func (s *fakeSink) Gap(g brokers.Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = append(s.gaps, g)
}

func (s *fakeSink) Deliver(batch []brokers.Delivery) {
	for _, d := range batch {
		s.mu.Lock()
		s.got = append(s.got, d)
		s.mu.Unlock()
		if s.onDeliver != nil {
			s.onDeliver(d)
			continue
		}
		_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}})
	}
}

func (s *fakeSink) count() (deliveries, gaps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got), len(s.gaps)
}

// running starts a subscription to channel a, and returns what ends it and waits for what it returned.
func running(t *testing.T, conn brokers.Conn, sink brokers.Sink) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- conn.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{"a"}}, sink) }()
	return func() error { cancel(); return <-done }
}

// stream makes a fakeSubscriber's channel, which closes with its context.
func stream(ctx context.Context, msgs ...*message.Message) <-chan *message.Message {
	ch := make(chan *message.Message)
	go func() {
		defer close(ch)
		for _, msg := range msgs {
			select {
			case ch <- msg:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return ch
}

// Several adapters end a subscription where they meet an entry that they cannot read.
func TestASubscriptionThatWatermillEndsIsTakenUpAgain(t *testing.T) {
	for name, durable := range map[string]bool{"with a gap": false, "without one where nothing is lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				sub := &fakeSubscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
					switch n++; {
					case n == 3:
						return nil, io.ErrUnexpectedEOF
					case n < 5:
						ch := make(chan *message.Message, 1)
						ch <- message.NewMessage("one", nil)
						close(ch)
						return ch, nil
					}
					return stream(ctx, message.NewMessage("last", nil)), nil
				}}
				conn := connOf(t, watermill.ConnConfig{Subscriber: sub, Promises: brokers.Capabilities{Durable: durable}})
				sink := &fakeSink{}
				end := running(t, conn, sink)
				time.Sleep(time.Minute)
				deliveries, gaps := sink.count()
				want := 3 // the outage that lasted for two attempts is one
				if durable {
					want = 0
				}
				if deliveries != 4 || gaps != want || sink.ready != 1 {
					t.Errorf("%d deliveries and %d gaps, want 4 and %d; ready %d times", deliveries, gaps, want, sink.ready)
				}
				if err := end(); err != nil || sub.closed.Load() {
					t.Errorf("Subscribe returned %v; the Subscriber was closed: %v", err, sub.closed.Load())
				}
			})
		})
	}
}

// Watermill's decorators send without looking at their context: what nobody reads holds them, and their Close, for ever.
func TestWhatWasSubscribedIsReadToItsEndThoughTheSubscriptionNeverBegan(t *testing.T) {
	for name, second := range map[string]func(ctx context.Context) (<-chan *message.Message, error){
		"ended while a topic is subscribed to": func(ctx context.Context) (<-chan *message.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"ended, and the topic is subscribed to all the same": func(ctx context.Context) (<-chan *message.Message, error) {
			time.Sleep(5 * time.Second)
			return stubborn(ctx), nil
		},
		"refused": func(context.Context) (<-chan *message.Message, error) { return nil, errFlaky },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails where a goroutine is left
				sub := &fakeSubscriber{subscribe: func(ctx context.Context, topic string) (<-chan *message.Message, error) {
					if topic == "b" {
						return second(ctx)
					}
					return stubborn(ctx), nil
				}}
				conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := conn.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{"a", "b"}}, &fakeSink{})
				if refused := name == "refused"; refused != errors.Is(err, errFlaky) || !refused && err != nil {
					t.Errorf("Subscribe returned %v", err)
				}
			})
		})
	}
}

// stubborn is a stream that sends its message whether or not its context has ended.
func stubborn(ctx context.Context) <-chan *message.Message {
	ch := make(chan *message.Message)
	go func() {
		defer close(ch)
		ch <- message.NewMessage("1", nil)
		<-ctx.Done()
	}()
	return ch
}

func TestARefusalBeforeReadyIsTold(t *testing.T) {
	denied := errors.New("access denied")
	for _, refusal := range []error{denied, io.EOF} {
		sub := &fakeSubscriber{subscribe: func(context.Context, string) (<-chan *message.Message, error) { return nil, refusal }}
		conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
		err := conn.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"a"}}, &fakeSink{})
		if !errors.Is(err, refusal) || conn.Retryable(err) != (refusal == io.EOF) {
			t.Errorf("%v came back as %v, retryable: %v", refusal, err, conn.Retryable(err))
		}
	}
}

func TestATopicThatIsIdleTakesNoRoomFromAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := &fakeSubscriber{subscribe: func(ctx context.Context, topic string) (<-chan *message.Message, error) {
			if topic != "b" {
				return stream(ctx), nil
			}
			return stream(ctx, message.NewMessage("1", nil), message.NewMessage("2", nil)), nil
		}}
		conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
		ctx, cancel := context.WithCancel(t.Context())
		sink, done := &fakeSink{}, make(chan error, 1)
		s := brokers.Subscription{Name: "s", Channels: []string{"a", "b", "c"}, Prefetch: 1}
		go func() { done <- conn.Subscribe(ctx, s, sink) }()
		synctest.Wait()
		if n, _ := sink.count(); n != 2 {
			t.Errorf("%d messages arrived, want 2", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestARedeliveryIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		msg := message.NewMessage("1", nil)
		sub := &fakeSubscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			return stream(ctx, msg), nil
		}}
		conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
		sink := &fakeSink{onDeliver: func(d brokers.Delivery) {
			again := []brokers.Settlement{{Token: d.Token, Verdict: brokers.Redeliver, After: time.Minute}}
			if err := d.Settler.Settle(t.Context(), again); err != nil {
				t.Error(err)
			}
			if d.Settler.Settle(t.Context(), again) == nil {
				t.Error("settling twice is no error")
			}
		}}
		end := running(t, conn, sink)
		began := time.Now()
		<-msg.Nacked()
		if took := time.Since(began); took != time.Minute {
			t.Errorf("nacked after %v", took)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatWaitsForItsRedeliveryIsNackedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		msg := message.NewMessage("1", nil)
		sub := &fakeSubscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			return stream(ctx, msg), nil
		}}
		conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
		sink := &fakeSink{onDeliver: func(d brokers.Delivery) {
			_ = d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token, Verdict: brokers.Redeliver, After: time.Hour}})
		}}
		end := running(t, conn, sink)
		synctest.Wait()
		began := time.Now()
		if err := end(); err != nil || time.Since(began) != 0 {
			t.Errorf("it ended after %v: %v", time.Since(began), err)
		}
		select {
		case <-msg.Nacked():
		default:
			t.Error("the message is neither acked nor nacked")
		}
	})
}

func TestTheAckOfWhatIsHandledReachesASubscriptionThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var life context.Context
		msg := message.NewMessage("1", nil)
		sub := &fakeSubscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			life = ctx
			return stream(ctx, msg), nil
		}}
		conn := connOf(t, watermill.ConnConfig{Subscriber: sub})
		var d brokers.Delivery
		end := running(t, conn, &fakeSink{onDeliver: func(got brokers.Delivery) { d = got }})
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- end() }()
		time.Sleep(time.Minute)
		if life.Err() != nil {
			t.Error("Watermill's subscription ended before the last ack")
		}
		if err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token}}); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil || life.Err() == nil {
			t.Errorf("Subscribe returned %v; Watermill's subscription: %v", err, life.Err())
		}
	})
}

func TestCloseSaysWhatIsNotSettledAndNacksIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		msg := message.NewMessage("1", nil)
		deaf, hear := context.WithCancel(context.WithoutCancel(t.Context()))
		defer hear()
		sub := &fakeSubscriber{subscribe: func(context.Context, string) (<-chan *message.Message, error) {
			return stream(deaf, msg), nil // it does not listen to its context
		}}
		made := 0
		conn := connOf(t, watermill.ConnConfig{Subscribers: func(context.Context, string) (message.Subscriber, error) {
			made++
			return sub, nil
		}})
		end := running(t, conn, &fakeSink{onDeliver: func(brokers.Delivery) {}})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := conn.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "1 deliveries") || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("Close returned %v after %v", err, time.Since(began))
		}
		<-msg.Nacked()
		err = end()
		synctest.Wait()
		if err != nil || !sub.closed.Load() || made != 1 {
			t.Errorf("Subscribe returned %v; %d made, closed: %v", err, made, sub.closed.Load())
		}
	})
}

func TestAConnectionThatCannotBeIsRefused(t *testing.T) {
	pub := &fakePublisher{}
	sub := &fakeSubscriber{}
	make := func(context.Context, string) (message.Subscriber, error) { return sub, nil }
	for name, cfg := range map[string]watermill.ConnConfig{
		"nothing":             {},
		"groups of nobody":    {Publisher: pub, Subscriber: sub, Promises: brokers.Capabilities{Groups: true}},
		"patterns":            {Publisher: pub, Promises: brokers.Capabilities{Patterns: true}},
		"delays":              {Publisher: pub, Promises: brokers.Capabilities{Delay: true}},
		"attempts":            {Publisher: pub, Promises: brokers.Capabilities{Attempts: true}},
		"replay":              {Publisher: pub, Promises: brokers.Capabilities{Replay: true}},
		"an order, and many":  {Subscribers: make, Parallel: 2, Promises: brokers.Capabilities{Order: brokers.OrderKey}},
		"a negative MaxBytes": {Publisher: pub, Promises: brokers.Capabilities{MaxBytes: -1}},
	} {
		if _, err := watermill.NewConn(cfg); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	deaf := connOf(t, watermill.ConnConfig{Publisher: pub})
	err := deaf.Subscribe(t.Context(), brokers.Subscription{Channels: []string{"a"}}, &fakeSink{})
	if err == nil || deaf.Retryable(err) {
		t.Errorf("subscribing without a Subscriber: %v", err)
	}
	mute := connOf(t, watermill.ConnConfig{Subscriber: sub})
	if got := outcomes(t, 1, mute.Publish(t.Context(), onChannels("a"))); got[0] != brokers.Rejected {
		t.Errorf("publishing without a Publisher is %v", got[0])
	}
}

func TestABusRunsOnWatermill(t *testing.T) {
	pubsub := gochannel.NewGoChannel(gochannel.Config{}, wm.NopLogger{})
	t.Cleanup(func() { _ = pubsub.Close() })
	rules := router.Config{Prefix: "shop", Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"all"}}}}
	conn := connOf(t, watermill.ConnConfig{Publisher: pubsub, Subscriber: pubsub})
	b, err := bus.New(t.Context(), conn, bus.Config{}, bus.WithRules(rules))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan schema.Event, 1)
	failed := false
	sub, err := b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"shop.all"}, Handler: func(_ context.Context, e schema.Event) error {
		if !failed {
			failed = true
			return errFlaky
		}
		got <- e
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-b.Ready()
	if err := pubsub.Publish("shop.all", message.NewMessage("", []byte("no event"))); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), placed(t)); err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.ID != "id-1" {
		t.Errorf("got %+v", e)
	}
	for deadline := time.Now().Add(time.Minute); sub.Stats().Received < 2; time.Sleep(time.Millisecond) { // it keeps no order
		if time.Now().After(deadline) {
			t.Fatalf("the other one has not come: %+v", sub.Stats())
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if st := sub.Stats(); st.Received != 2 || st.Handled != 1 {
		t.Errorf("the ledger: %+v", st)
	}
}
