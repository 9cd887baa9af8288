package relink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/relink"
)

// A call is a session that lasts until it is closed.
type call struct{ over chan struct{} }

func (c *call) Over() <-chan struct{} { return c.over }
func (c *call) Close()                { close(c.over) }

// Connecting runs the client library's login, on the link's own goroutine.
func TestAPanicWhileConnectingIsAnAttemptThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := relink.New(t.Context(), brokers.ErrClosed, func(context.Context) (*call, error) {
			if attempts++; attempts == 1 {
				panic("login")
			}
			return &call{make(chan struct{})}, nil
		})
		var failures []error
		s, err := l.Next(t.Context(), func(err error) error { failures = append(failures, err); return nil })
		if s == nil || err != nil {
			t.Errorf("there is no session after the second attempt: %v", err)
		}
		if len(failures) != 1 || !errors.As(failures[0], new(*brokers.PanicError)) {
			t.Errorf("the failures are %v", failures)
		}
		<-l.Close()
	})
}
