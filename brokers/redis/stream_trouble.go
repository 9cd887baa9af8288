package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// A trouble is what keeps a subscription from being served.
type trouble struct {
	gap func(brokers.Gap)

	ready bool
	since time.Time // when all was well
	text  string    // what was reported last
}

// well notes that all is well.
func (t *trouble) well(now time.Time) { t.since = now }

// over notes that the subscription is served.
func (t *trouble) over() { t.ready, t.text, t.since = true, "", time.Now() }

// report tells of messages that may have been missed: how many, or -1.
func (t *trouble) report(err error, missed int64) {
	now := time.Now()
	if t.since.IsZero() {
		t.since = now
	}
	t.gap(brokers.Gap{Since: t.since, Until: now, Reason: brokers.GapReconnect, Missed: missed, Err: err})
	t.since = now
}

// judge returns err where it is the end of the subscription: one that will not pass, before it was ever ready. Later
// it is reported, once.
func (t *trouble) judge(err error) error {
	if streamRetryable(err) {
		return nil
	}
	if !t.ready {
		return err
	}
	if t.text != err.Error() {
		t.text = err.Error()
		t.report(err, -1)
	}
	return nil
}

// retry calls serve, again and again, until ctx ends, and then returns nil, or an error that is the end of the
// subscription.
func (c *stream) retry(ctx context.Context, t *trouble, serve func() error) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if !sleep(ctx, backoff(attempt, rand.Float64())) {
			break
		}
		started := time.Now()
		err := serve()
		if ctx.Err() != nil {
			break
		}
		if err := t.judge(err); err != nil {
			return err
		}
		if time.Since(started) >= steadyAfter {
			attempt = -1
		}
	}
	return nil
}

// Retryable reports whether err may go away by itself.
func (c *stream) Retryable(err error) bool { return streamRetryable(err) }

// streamRetryable reports whether err may go away by itself.
func streamRetryable(err error) bool {
	var setup *setupError
	return retryable(err) && !errors.As(err, &setup) && !errors.As(err, new(clusterError)) && !isClusterReply(err)
}

// isClusterReply reports whether a server of a cluster says that a key is not its own: the user may not ask for its
// mode.
func isClusterReply(err error) bool {
	return goredis.HasErrorPrefix(err, "MOVED") || goredis.HasErrorPrefix(err, "CROSSSLOT")
}
