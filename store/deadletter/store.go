package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/eventbus-go/eventbus/internal/opener"
)

// A Store keeps letters. Its methods are safe for concurrent use by many processes, and return soon after their context's end.
type Store interface {
	// Put writes letters, each in place of one with the same ID, and returns nil once all of them are kept, or an error:
	// then some may not be. It is ErrFull where there are as many as there may be.
	Put(ctx context.Context, letters ...Letter) error
	// Page returns up to limit letters in the order of their last failure, from the one after the cursor on, and the cursor of
	// the last one; an empty cursor is the beginning, and an empty next is the end.
	Page(ctx context.Context, cursor string, limit int) (letters []Letter, next string, err error)
	// Remove removes letters, each unless it was written again since it was read, and returns how many it has removed.
	Remove(ctx context.Context, letters ...Letter) (int, error)
	// Stats counts the letters.
	Stats(ctx context.Context) (Stats, error)
	// Close releases what the store has opened.
	Close() error
}

// Stats are what a metric shows of a store.
type Stats struct {
	// Depth is how many letters there are.
	Depth int64
	// Oldest is the last failure of the letter that waits longest; zero where there is none.
	Oldest time.Time
	// Evicted is how many letters made room for others, where the store does that.
	Evicted int64
}

// ErrFull is what Put returns where there are as many letters as there may be.
var ErrFull = errors.New("there are as many dead letters as there may be: redrive or purge some, or raise the bound")

// ErrNoScheme says that no linked store has the URL's scheme.
var ErrNoScheme = errors.New("no such store of dead letters is linked in")

var openers = opener.Openers[Store]{Package: "deadletter", Example: "letters.db", ErrNoScheme: ErrNoScheme}

// Register makes a store known by the scheme of its URL. It is for the init function of the store's package, and panics
// where the scheme is taken.
func Register(scheme string, open func(url string) (Store, error)) { openers.Register(scheme, open) }

// Registered reports whether a store of that scheme is linked in.
func Registered(scheme string) bool { return openers.Registered(scheme) }

// Open opens the store of a URL, such as redis://localhost:6379, sqlite:letters.db or memory://. It does not wait for a server.
// Its errors show no password.
func Open(url string) (Store, error) { return openers.Open(url) }
