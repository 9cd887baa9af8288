package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/memory" // memory://
	_ "github.com/eventbus-go/eventbus/brokers/redis"  // redis://
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
)

// patience bounds every wait for something that happens at once, unless something is wrong.
const patience = 10 * time.Second

// toOne sends every event to one channel.
var toOne = router.Config{Rules: []router.Rule{{Name: "bench", Match: []string{">"}, Channels: []string{oneChannel}}}}

// blocking is the configuration of the rows that publish as fast as they can: Emit waits for room instead of dropping,
// so that what it is measured at is what the broker has taken. A lane holds as many events as the window of the other
// rows, shared by two lanes, instead of the default, which is made for outages: what waits stays in the processor's
// caches then, which is worth a fifth. A batch may take as long as it takes, since a pause of a busy machine is not
// what is measured. Everything else is the default.
func blocking(url string, rules router.Config) bus.Config {
	return bus.Config{
		URL: url, Config: rules,
		Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{
			WhenFull: bus.Block, BlockFor: patience, MaxEvents: window / 2, SendTimeout: patience,
		}},
	}
}

// patient is the default of everything but the time that a batch may take.
var patient = bus.PublishConfig{LaneConfig: bus.LaneConfig{SendTimeout: patience}}

// url is our broker, with timeouts to match.
func (l *lab) url() string {
	return fmt.Sprintf("%s?read_timeout=%v&write_timeout=%v", l.redis.URL(), patience, patience)
}

// A rig is a bus under measurement.
type rig struct {
	*bus.Bus
	published int64 // messages that have to be confirmed
	perEvent  int64 // channels of each event
}

// openRig opens a bus and connects it, by publishing events of several keys.
func openRig(ctx context.Context, cfg bus.Config) (*rig, error) {
	b, err := bus.OpenConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := &rig{Bus: b}
	for user := range 16 {
		if err := b.Publish(ctx, newEvent(user)); err != nil {
			return nil, fmt.Errorf("connecting: %w", err)
		}
	}
	r.published = b.Stats().Published.Confirmed
	r.perEvent = r.published / 16
	return r, nil
}

// emit emits the next events, a stride of them.
func (r *rig) emit(ctx context.Context) (int, error) {
	for i := range stride {
		if err := r.Emit(ctx, newEvent(i)); err != nil {
			return 0, err
		}
	}
	return stride, nil
}

// finish waits until n events are sent, and makes sure that all of them were confirmed.
func (r *rig) finish(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		return err
	}
	ledger := r.Stats().Published
	if want := r.published + int64(n)*r.perEvent; ledger.Confirmed != want {
		return fmt.Errorf("%d of %d messages were confirmed: %+v", ledger.Confirmed, want, ledger)
	}
	return nil
}

// subscribe adds a subscription and runs the bus until it is confirmed. stop closes the bus and checks that nothing was
// missed.
func subscribe(ctx context.Context, b *bus.Bus, s bus.Subscription) (stop func() error, err error) {
	if _, err := b.Subscribe(s); err != nil {
		return nil, err
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	ready := time.NewTimer(patience)
	defer ready.Stop()
	select {
	case <-b.Ready():
	case err := <-ran:
		return nil, fmt.Errorf("run: %w", err)
	case <-ready.C:
		return nil, fmt.Errorf("the subscription is not ready after %v", patience)
	}
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			return err
		}
		if st := b.Stats().Subscriptions[s.Name]; st.Handled+st.Filtered+st.Duplicate != st.Received || st.Gaps != 0 {
			return fmt.Errorf("something was missed: %+v", st)
		}
		return <-ran
	}, nil
}

// await waits until handled reaches want.
func await(ctx context.Context, handled *atomic.Int64, want int64) error {
	end, pause := now()+int64(patience), newRest()
	for handled.Load() < want {
		if pause.take(ctx, aMoment) != nil || now() > end {
			return errLost(want, handled.Load())
		}
	}
	return nil
}

// A stuck connection takes a batch and keeps it until it is closed, so that nothing of the process allocates but the
// caller of Emit.
type stuck struct{ closed chan struct{} }

func (stuck) Capabilities() brokers.Capabilities { return brokers.Capabilities{} }
func (stuck) Retryable(error) bool               { return false }

func (s stuck) Publish(ctx context.Context, msgs []brokers.Message) error {
	select {
	case <-s.closed:
	case <-ctx.Done():
	}
	return brokers.FailAll(len(msgs), brokers.Rejected, brokers.ErrClosed)
}

func (stuck) Subscribe(context.Context, brokers.Subscription, brokers.Sink) error {
	return brokers.ErrClosed
}

func (s stuck) Close(context.Context) error { return nil }
