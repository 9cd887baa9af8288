package faults

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

func TestAThousandOpensAndClosesLeaveNothingBehind(t *testing.T) {
	cycles := full(1000, 300)
	redis := testbroker.RealRedis(t)
	for range 5 {
		openAndClose(t, redis.URL()) // what is made once in a program is made now
	}
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	heap := heapAtRest()
	began := time.Now()
	for range cycles {
		openAndClose(t, redis.URL())
	}
	each := time.Since(began) / time.Duration(cycles)
	left := func() bool { return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files }
	for deadline := time.Now().Add(patience); !left() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	nowGoroutines, nowFiles := runtime.NumGoroutine(), descriptors(t)
	if !left() {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines became %d, %d descriptors became %d:\n%s", goroutines, nowGoroutines, files, nowFiles,
			stacks[:runtime.Stack(stacks, true)])
	}
	grown := heapAtRest() - heap
	if grown > 8<<20 {
		t.Errorf("the heap has grown by %s", mib(grown))
	}
	figure(t, "opens and closes", "%d, %v each: goroutines %d before, %d after; descriptors %d before, %d after; "+
		"heap +%s", cycles, ms(each),
		goroutines, nowGoroutines, files, nowFiles, mib(grown))
}

// openAndClose opens a bus with a subscription, sees an event through, and closes it.
func openAndClose(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := bus.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan struct{}, 1)
	_, err = b.Subscribe(bus.Subscription{
		Name: "all", Channels: []string{"user_service.events.all"},
		Handler: func(context.Context, schema.Event) error {
			handled <- struct{}{}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	select {
	case <-b.Ready():
	case <-ctx.Done():
		t.Fatal("the subscription is not ready")
	}
	if err := b.Emit(ctx, numbered(0)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-handled:
	case <-ctx.Done():
		t.Fatal("the event was not handled")
	}
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}
