package watermill

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/router/middleware"
)

// quiet is how long a kind of message is not logged again.
const quiet = time.Second

// A noter logs at a limited rate: each kind of message at most once a second, with how many were left out.
type noter struct {
	ctx context.Context // for the logger, which takes one
	log *slog.Logger

	mu   sync.Mutex
	kind map[string]*noted
}

type noted struct {
	last time.Time
	left int
}

// say logs a message of the kind that its text is.
func (n *noter) say(level slog.Level, text string, attrs ...any) {
	left, now := n.due(text, time.Now())
	if !now {
		return
	}
	if left > 0 {
		attrs = append(attrs, "not_logged", left)
	}
	defer func() { _ = recover() }() // a handler's panic is not ours to spread
	n.log.Log(n.ctx, level, "watermill: "+text, attrs...)
}

func (n *noter) due(text string, now time.Time) (left int, due bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kind == nil {
		n.kind = make(map[string]*noted)
	}
	k := n.kind[text]
	if k == nil {
		k = &noted{}
		n.kind[text] = k
	}
	if now.Sub(k.last) < quiet {
		k.left++
		return 0, false
	}
	left, k.left, k.last = k.left, 0, now
	return left, true
}

// contain calls a hook and logs its panic.
func (n *noter) contain(hook string, call func()) {
	defer func() {
		if p := recover(); p != nil {
			n.say(slog.LevelError, "the "+hook+" hook panicked", "panic", middleware.PanicText(p))
		}
	}()
	call()
}
