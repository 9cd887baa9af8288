package watermill_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/sony/gobreaker"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/watermill"
)

var errFlaky = errors.New("the database is away")

// placed returns an event with metadata.
func placed(t *testing.T) schema.Event {
	t.Helper()
	e := schema.Event{
		ID: "id-1", Type: "order.placed", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Source: "shop",
		Subject: "order:7", Priority: schema.High, Data: []byte(`{"order_id":7}`),
	}
	if err := errors.Join(e.Metadata.Set("correlation_id", "c-1"), e.Metadata.Set("retries", 3)); err != nil {
		t.Fatal(err)
	}
	return e
}

// failing returns a handler that fails n times, and how often it was called.
func failing(n int) (router.Handler, *int) {
	calls := 0
	return func(context.Context, schema.Event) error {
		if calls++; calls <= n {
			return errFlaky
		}
		return nil
	}, &calls
}

// through runs an event through Watermill's middleware around h.
func through(t *testing.T, h router.Handler, mw ...message.HandlerMiddleware) error {
	t.Helper()
	return watermill.Middleware(watermill.ChainConfig{}, mw...)(h)(t.Context(), placed(t))
}

func TestWatermillsMiddlewareSeesTheEventAsAMessage(t *testing.T) {
	var seen *message.Message
	look := func(h message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			seen = msg
			return h(msg)
		}
	}
	var got schema.Event
	err := through(t, func(_ context.Context, e schema.Event) error { got = e; return nil }, look)
	if err != nil {
		t.Fatal(err)
	}
	want := message.Metadata{
		"correlation_id": "c-1", watermill.MetadataType: "order.placed", watermill.MetadataKey: "order:7",
		watermill.MetadataPriority: "high",
	}
	e, err := schema.Decode(seen.Payload, 0)
	if err != nil || e.ID != "id-1" || string(e.Data) != `{"order_id":7}` || seen.UUID != "id-1" || !mapsEqual(seen.Metadata, want) {
		t.Errorf("the message is %q with %v and the payload %s (%v)", seen.UUID, seen.Metadata, seen.Payload, err)
	}
	a, _ := schema.Encode(got)
	b, _ := schema.Encode(placed(t))
	if string(a) != string(b) {
		t.Errorf("the handler got %s, want %s", a, b)
	}
}

func mapsEqual(a, b message.Metadata) bool {
	x, y := message.NewMessage("", nil), message.NewMessage("", nil)
	x.Metadata, y.Metadata = a, b
	return x.Equals(y)
}

func TestWhatMiddlewareChangesReachesTheHandler(t *testing.T) {
	type key struct{}
	change := func(h message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			msg.SetContext(context.WithValue(msg.Context(), key{}, "value"))
			msg.Metadata.Set("tenant", "acme")
			e, _ := schema.Decode(msg.Payload, 0)
			e.Subject = "order:8"
			msg.Payload, _ = schema.Encode(e)
			return h(msg)
		}
	}
	err := through(t, func(ctx context.Context, e schema.Event) error {
		if ctx.Value(key{}) != "value" || e.Metadata.Text("tenant") != "acme" || e.Subject != "order:8" {
			t.Errorf("the handler got %v, %q, %q", ctx.Value(key{}), e.Metadata.Text("tenant"), e.Subject)
		}
		if n, _ := e.Metadata.Get("retries"); string(n) != "3" {
			t.Errorf("a number in the metadata has become %s", n)
		}
		return nil
	}, change)
	if err != nil {
		t.Error(err)
	}
	spoil := func(h message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			msg.Payload = []byte("no event")
			return h(msg)
		}
	}
	err = through(t, func(context.Context, schema.Event) error { t.Error("the handler was called"); return nil }, spoil)
	if watermill.MayRetry(err) {
		t.Errorf("a payload that was made no event is %v, want a permanent error", err)
	}
}

func TestTheFirstMiddlewareIsTheOutermost(t *testing.T) {
	var order []string
	named := func(name string) message.HandlerMiddleware {
		return func(h message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				order = append(order, name)
				return h(msg)
			}
		}
	}
	h, _ := failing(0)
	if err := through(t, h, named("a"), named("b")); err != nil || !slices.Equal(order, []string{"a", "b"}) {
		t.Errorf("the order is %v (%v)", order, err)
	}
}

func TestRetryRetriesAndStopsWhereItIsToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := stock.Retry{
			MaxRetries: 5, InitialInterval: time.Second, MaxInterval: time.Minute, Multiplier: 2,
			ShouldRetry: func(p stock.RetryParams) bool { return watermill.MayRetry(p.Err) },
		}
		h, calls := failing(3)
		if err := through(t, h, retry.Middleware); err != nil || *calls != 4 {
			t.Errorf("%d calls: %v", *calls, err)
		}
		n := 0
		err := through(t, func(context.Context, schema.Event) error { n++; return router.Permanent(errFlaky) }, retry.Middleware)
		if watermill.MayRetry(err) || n != 1 {
			t.Errorf("a permanent error was tried %d times and came back as %v", n, err)
		}
	})
}

func TestTimeoutEndsTheHandlersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := through(t, func(ctx context.Context, _ schema.Event) error { <-ctx.Done(); return ctx.Err() }, stock.Timeout(time.Second))
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestRecovererMakesAPanicAnError(t *testing.T) {
	err := through(t, func(context.Context, schema.Event) error { panic("oh") }, stock.Recoverer)
	if p := new(stock.RecoveredPanicError); !errors.As(err, p) || p.V != "oh" {
		t.Errorf("got %v", err)
	}
}

func TestIgnoreErrorsSettlesTheEvent(t *testing.T) {
	h, _ := failing(1)
	if err := through(t, h, stock.NewIgnoreErrors([]error{errFlaky}).Middleware); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestThrottleLetsThroughOneAtATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, calls := failing(0)
		mw := watermill.Middleware(watermill.ChainConfig{}, stock.NewThrottle(1, time.Second).Middleware)(h)
		began := time.Now()
		for range 4 {
			if err := mw(t.Context(), placed(t)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); *calls != 4 || took != 4*time.Second {
			t.Errorf("%d calls took %v", *calls, took)
		}
	})
}

func TestAnOpenCircuitBreakerFailsFast(t *testing.T) {
	h, calls := failing(100)
	breaker := stock.NewCircuitBreaker(gobreaker.Settings{ReadyToTrip: func(c gobreaker.Counts) bool { return c.TotalFailures >= 2 }})
	later := func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error {
			if err := next(ctx, e); !errors.Is(err, gobreaker.ErrOpenState) {
				return err
			}
			return router.RetryAfter(gobreaker.ErrOpenState, 30*time.Second)
		}
	}
	mw := router.Chain(h, later, watermill.Middleware(watermill.ChainConfig{}, breaker.Middleware))
	for range 2 {
		if err := mw(t.Context(), placed(t)); !errors.Is(err, errFlaky) {
			t.Fatalf("got %v", err)
		}
	}
	after := new(router.RetryAfterError)
	if err := mw(t.Context(), placed(t)); !errors.As(err, &after) || *calls != 2 {
		t.Errorf("an open breaker answers %v after %d calls", err, *calls)
	}
}

func TestCorrelationIDIsGivenToWhatIsProduced(t *testing.T) {
	var sent []*message.Message
	cfg := watermill.ChainConfig{Produced: func(_ context.Context, msgs []*message.Message) error { sent = msgs; return nil }}
	h := func(ctx context.Context, _ schema.Event) error {
		return watermill.Produce(ctx, message.NewMessage("out", []byte("{}")))
	}
	mw := watermill.Middleware(cfg, stock.CorrelationID)(h)
	if err := mw(t.Context(), placed(t)); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 1 || stock.MessageCorrelationID(sent[0]) != "c-1" {
		t.Errorf("%d messages were published, the first one %+v", len(sent), sent)
	}
	if err := watermill.Produce(t.Context(), message.NewMessage("", nil)); err == nil {
		t.Error("producing without a Middleware is no error")
	}
}

func TestDuplicatorProducesTwiceAsMuch(t *testing.T) {
	var sent []*message.Message
	cfg := watermill.ChainConfig{Produced: func(_ context.Context, msgs []*message.Message) error { sent = msgs; return nil }}
	h := func(ctx context.Context, _ schema.Event) error {
		return watermill.Produce(ctx, message.NewMessage(wm.NewUUID(), nil))
	}
	if err := watermill.Middleware(cfg, stock.Duplicator)(h)(t.Context(), placed(t)); err != nil || len(sent) != 2 || sent[0] == sent[1] {
		t.Errorf("%d messages: %v", len(sent), err)
	}
}

func TestProducingForNobodyIsPermanent(t *testing.T) {
	h := watermill.Handler(watermill.ChainConfig{}, message.PassthroughHandler)
	if err := h(t.Context(), placed(t)); !errors.Is(err, watermill.ErrProduced) || watermill.MayRetry(err) {
		t.Errorf("got %v", err)
	}
}

func TestAFailedHandlerPublishesNothing(t *testing.T) {
	cfg := watermill.ChainConfig{Produced: func(context.Context, []*message.Message) error { t.Error("published"); return nil }}
	h := watermill.Handler(cfg, func(msg *message.Message) ([]*message.Message, error) { return []*message.Message{msg}, errFlaky })
	if err := h(t.Context(), placed(t)); !errors.Is(err, errFlaky) {
		t.Errorf("got %v", err)
	}
}

func TestAckAndNackAreAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		act  func(*message.Message)
		err  error
		want func(error) bool
	}{
		"acked and failed": {func(m *message.Message) { m.Ack() }, errFlaky, func(err error) bool {
			drop := new(router.DropError)
			return errors.As(err, &drop) && errors.Is(err, errFlaky)
		}},
		"acked":             {func(m *message.Message) { m.Ack() }, nil, func(err error) bool { return err == nil }},
		"nacked":            {func(m *message.Message) { m.Nack() }, nil, func(err error) bool { return errors.Is(err, watermill.ErrNacked) }},
		"nacked and failed": {func(m *message.Message) { m.Nack() }, errFlaky, func(err error) bool { return err == errFlaky }},
	} {
		h := watermill.NoPublishHandler(func(m *message.Message) error { tt.act(m); return tt.err })
		if err := h(t.Context(), placed(t)); !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h, _ := failing(1)
	drop := new(router.DropError)
	if err := through(t, h, stock.InstantAck); !errors.As(err, &drop) {
		t.Errorf("InstantAck: a handler that fails is %v", err)
	}
}

func TestDelayOnErrorIsARetryAfter(t *testing.T) {
	d := &stock.DelayOnError{InitialInterval: 7 * time.Second, MaxInterval: time.Minute, Multiplier: 2}
	h, _ := failing(1)
	after := new(router.RetryAfterError)
	if err := through(t, h, d.Middleware); !errors.As(err, &after) || after.After != 7*time.Second || !errors.Is(err, errFlaky) {
		t.Errorf("got %v", err)
	}
}

func TestPoisonQueueKeepsTheWholeEventAndSettlesIt(t *testing.T) {
	pubsub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1}, wm.NopLogger{})
	t.Cleanup(func() { _ = pubsub.Close() })
	poisoned, err := pubsub.Subscribe(t.Context(), "poison")
	if err != nil {
		t.Fatal(err)
	}
	queue, err := stock.PoisonQueue(pubsub, "poison")
	if err != nil {
		t.Fatal(err)
	}
	h, calls := failing(100)
	retry := stock.Retry{MaxRetries: 2, InitialInterval: time.Millisecond, MaxInterval: time.Millisecond, Multiplier: 1}
	if err := through(t, h, queue, retry.Middleware); err != nil || *calls != 3 {
		t.Errorf("%d calls: %v", *calls, err)
	}
	msg := <-poisoned
	e, err := schema.Decode(msg.Payload, 0)
	if err != nil || e.ID != "id-1" || msg.Metadata[stock.ReasonForPoisonedKey] != errFlaky.Error() {
		t.Errorf("the poison queue got %s with %v: %v", msg.Payload, msg.Metadata, err)
	}
	msg.Ack()
}

func TestRandomFailIsAnErrorLikeAnyOther(t *testing.T) {
	h, calls := failing(0)
	if err := through(t, h, stock.RandomFail(1)); err == nil || *calls != 0 {
		t.Errorf("%d calls: %v", *calls, err)
	}
}
