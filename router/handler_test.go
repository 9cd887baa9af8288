package router_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

var errOops = errors.New("oops")

func TestTheFirstMiddlewareOfAChainIsTheOutermost(t *testing.T) {
	var calls []string
	mark := func(name string) router.Middleware {
		return func(next router.Handler) router.Handler {
			return func(ctx context.Context, e schema.Event) error {
				calls = append(calls, name)
				return next(ctx, e)
			}
		}
	}
	h := router.Chain(func(context.Context, schema.Event) error {
		calls = append(calls, "handler")
		return nil
	}, mark("a"), mark("b"))
	if err := h(t.Context(), schema.Event{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "handler"}; !slices.Equal(calls, want) {
		t.Errorf("called %v, want %v", calls, want)
	}
}

func TestWhatAHandlerAsksForIsFoundAndKeepsItsReason(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		is   func(error) bool
		text string
	}{
		{"permanent", router.Permanent(errOops), as[*router.PermanentError], "permanent: oops"},
		{"drop", router.Drop(errOops), as[*router.DropError], "drop: oops"},
		{"retry after", router.RetryAfter(errOops, time.Second), as[*router.RetryAfterError], "retry after 1s: oops"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.is(tt.err) || !errors.Is(tt.err, errOops) || tt.err.Error() != tt.text {
				t.Errorf("got %T %q, want the text %q and to find the reason", tt.err, tt.err, tt.text)
			}
		})
	}
}

func TestANilReasonStillAsks(t *testing.T) {
	for _, err := range []error{router.Permanent(nil), router.Drop(nil), router.RetryAfter(nil, 0)} {
		if err == nil || err.Error() == "" || errors.Unwrap(err) == nil {
			t.Errorf("%T: got %v, want an error with a text", err, err)
		}
	}
}

func TestANegativeRetryAfterIsZero(t *testing.T) {
	var e *router.RetryAfterError
	if !errors.As(router.RetryAfter(errOops, -time.Hour), &e) || e.After != 0 {
		t.Errorf("got %+v, want After 0", e)
	}
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
