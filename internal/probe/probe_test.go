package probe_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/internal/probe"
)

// Who asks may go away, and others wait for the same answer.
func TestAProbeThatPanicsFailsAndOneThatWasLeftGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := &probe.Probe[int]{Timeout: time.Second, Every: time.Minute, Ask: func(ctx context.Context) (int, error) {
			calls++
			time.Sleep(time.Millisecond)
			if ctx.Err() != nil || calls == 2 {
				panic("in the probe")
			}
			return calls, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		running := p.Start(ctx)
		cancel()
		if _, err := p.Get(running, ctx.Done()); !errors.Is(err, probe.ErrSlow) {
			t.Errorf("who has gone got %v", err)
		}
		if n, err := p.Get(p.Start(t.Context()), nil); n != 1 || err != nil || calls != 1 {
			t.Errorf("got %d, %v after %d calls", n, err, calls)
		}
		time.Sleep(time.Minute)
		if _, err := p.Get(p.Start(t.Context()), nil); err == nil || !strings.Contains(err.Error(), "in the probe") {
			t.Errorf("the panic became %v", err)
		}
	})
}
