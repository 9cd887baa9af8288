package watermill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// Errors that say how Watermill's middleware or handler ended without an error of its own.
var (
	// ErrNacked: the message was nacked although nil was returned. It is retried like any other error.
	ErrNacked = errors.New("watermill: the message was nacked")
	// ErrProduced: messages were produced, and there is nobody to publish them. It is permanent.
	ErrProduced = errors.New("watermill: messages were produced and no Produced function publishes them")
)

// A ChainConfig shapes what [Middleware] and [Handler] make. Its zero value is the default of everything.
type ChainConfig struct {
	// Produced publishes what a handler or a middleware produced, once all of it has succeeded and before the event is settled.
	// Its error is that of the handler. Nil means that producing is an error, ErrProduced. See [PublishTo].
	Produced func(ctx context.Context, messages []*message.Message) error
}

// PublishTo publishes what is produced to a topic, as Watermill's Router does.
func PublishTo(pub message.Publisher, topic string) func(context.Context, []*message.Message) error {
	return func(_ context.Context, messages []*message.Message) error { return pub.Publish(topic, messages...) }
}

// Middleware makes Watermill's middleware one of ours, for bus.WithMiddleware and Subscription.Middleware. The first is the
// outermost. It sees each event as the message that a [Subscriber] would have handed out: the UUID is the event's id, the
// payload its envelope, and the metadata the strings of the event's metadata, with MetadataType, MetadataKey and
// MetadataPriority.
//
// What it does reaches the handler: the message's context is the handler's, metadata that it set is set in the event, and a
// payload that it replaced is decoded anew. What it returns is the handler's answer; besides, a message that was acked and then
// fails is dropped (router.Drop), since Watermill would not deliver it again, and one that was nacked without an error is
// ErrNacked. An error for which Watermill's DelayOnError set a delay is a router.RetryAfter.
//
// It runs inside the subscription's retry, timeout and recover, once for each attempt. So of Watermill's stock:
//
//   - CorrelationID, IgnoreErrors, RandomFail, Duplicator, InstantAck and DelayOnError do here what they do there.
//   - Retry multiplies with the subscription's attempts: set Retry.Attempts to 1 there, and ShouldRetry to [MayRetry] here.
//   - Timeout and Recoverer are in the bus already, which counts what they catch.
//   - Throttle makes the workers of a subscription wait, and does not listen to a shutdown.
//   - CircuitBreaker fails attempts while it is open: let router.RetryAfter say when to try again, or they are used up in a moment.
//   - PoisonQueue publishes the whole envelope. It has to be outside of a Timeout's context only where its Publisher looks at
//     that; ours does not. The topic and the handler that it names are empty: only Watermill's Router can set them.
//   - Deduplicator drops an event whose handler failed once, since it takes the retry for the duplicate. Do not use it with any
//     retry; the bus drops copies by itself.
func Middleware(cfg ChainConfig, mw ...message.HandlerMiddleware) router.Middleware {
	return func(next router.Handler) router.Handler {
		h := chain(func(msg *message.Message) ([]*message.Message, error) {
			c := callOf(msg)
			e, err := c.event(msg)
			if err != nil {
				return nil, err
			}
			c.produced = nil
			err = next(msg.Context(), e)
			return c.produced, err
		}, mw)
		return func(ctx context.Context, e schema.Event) error { return cfg.handle(ctx, e, h) }
	}
}

// Handler makes Watermill's handler, wrapped in Watermill's middleware, a handler of ours, for Subscription.Handler. See
// [Middleware] for what of the event it sees and what becomes of its answer.
func Handler(cfg ChainConfig, h message.HandlerFunc, mw ...message.HandlerMiddleware) router.Handler {
	h = chain(h, mw)
	return func(ctx context.Context, e schema.Event) error { return cfg.handle(ctx, e, h) }
}

// NoPublishHandler is Handler for a handler that produces nothing.
func NoPublishHandler(h message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) router.Handler {
	return Handler(ChainConfig{}, func(msg *message.Message) ([]*message.Message, error) { return nil, h(msg) }, mw...)
}

// Produce adds a message to those that the Watermill middleware around a handler gets as produced, and that
// ChainConfig.Produced publishes. ctx is the handler's; the error says that there is no Middleware around it. It is for the
// handler's goroutine only.
func Produce(ctx context.Context, messages ...*message.Message) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return errors.New("watermill: there is no Middleware around this handler that would publish the message")
	}
	c.produced = append(c.produced, messages...)
	return nil
}

// MayRetry reports whether an error leaves another attempt open: false for router.Permanent and router.Drop, which
// Watermill's Retry does not know. It is for Retry.ShouldRetry.
func MayRetry(err error) bool {
	var permanent *router.PermanentError
	var drop *router.DropError
	return err != nil && !errors.As(err, &permanent) && !errors.As(err, &drop)
}

func chain(h message.HandlerFunc, mw []message.HandlerMiddleware) message.HandlerFunc {
	for _, m := range slices.Backward(mw) {
		h = m(h)
	}
	return h
}

// A call is one event on its way through Watermill's chain and back into ours.
type call struct {
	original schema.Event
	payload  message.Payload
	metadata map[string]string
	produced []*message.Message
}

type callKey struct{}

// callOf returns the call that a message belongs to. A middleware may have made a context of its own, from the message's or from
// nothing: then the call is not there.
func callOf(msg *message.Message) *call {
	if c, ok := msg.Context().Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// handle runs one event through h.
func (cfg ChainConfig) handle(ctx context.Context, e schema.Event, h message.HandlerFunc) error {
	msg, err := messageOf(&e)
	if err != nil {
		return router.Permanent(fmt.Errorf("watermill: the event has no envelope: %w", err))
	}
	c := &call{original: e, payload: msg.Payload, metadata: maps.Clone(msg.Metadata)}
	ctx = context.WithValue(ctx, callKey{}, c)
	msg.SetContext(ctx)
	produced, err := h(msg)
	if err == nil && len(produced) > 0 {
		err = cfg.publish(ctx, produced)
	}
	return answer(msg, err)
}

func (cfg ChainConfig) publish(ctx context.Context, produced []*message.Message) error {
	if cfg.Produced == nil {
		return router.Permanent(ErrProduced)
	}
	return cfg.Produced(ctx, produced)
}

// answer says in our words what became of a message.
func answer(msg *message.Message, err error) error {
	switch {
	case isClosed(msg.Acked()) && err != nil:
		return router.Drop(err)
	case isClosed(msg.Nacked()) && err == nil:
		return ErrNacked
	case err == nil:
		return nil
	}
	if d := delayedFor(msg.Metadata); d > 0 && MayRetry(err) {
		return router.RetryAfter(err, d)
	}
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// messageOf returns an event as a Watermill message.
func messageOf(e *schema.Event) (*message.Message, error) {
	payload, err := e.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	msg := message.NewMessage(e.ID, payload)
	for k := range e.Metadata.Keys() {
		if s := e.Metadata.Text(k); s != "" {
			msg.Metadata[k] = s
		}
	}
	setField(msg.Metadata, MetadataType, e.Type)
	setField(msg.Metadata, MetadataPriority, priorityText(int8(e.Priority)))
	if key := e.Key(); key != e.ID {
		setField(msg.Metadata, MetadataKey, key)
	}
	return msg, nil
}

// event returns the event with what middleware changed in the message.
func (c *call) event(msg *message.Message) (schema.Event, error) {
	e := c.original
	if !sameMemory(c.payload, msg.Payload) {
		decoded, err := schema.Decode(msg.Payload, max(schema.DefaultMaxBytes, len(msg.Payload)))
		if err != nil {
			return e, router.Permanent(fmt.Errorf("watermill: a middleware made the payload what is no event: %w", err))
		}
		e = decoded
	}
	for k, v := range msg.Metadata {
		if old, was := c.metadata[k]; was && old == v || slices.Contains(reserved, k) {
			continue
		}
		if err := e.Metadata.Set(k, v); err != nil {
			return e, router.Permanent(fmt.Errorf("watermill: metadata %q: %w", k, err))
		}
	}
	return e, nil
}

// sameMemory reports whether a payload is still the one that it was, and not replaced.
func sameMemory(a, b message.Payload) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
