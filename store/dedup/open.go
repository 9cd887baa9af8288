package dedup

import (
	"errors"

	"github.com/eventbus-go/eventbus/internal/opener"
)

// ErrNoScheme says that no linked store has the URL's scheme.
var ErrNoScheme = errors.New("no such store of handled events is linked in")

var openers = opener.Openers[Store]{Package: "dedup", Example: "handled.db", ErrNoScheme: ErrNoScheme}

// Register makes a store known by the scheme of its URL. It is for the init function of the store's package, and panics
// where the scheme is taken.
func Register(scheme string, open func(url string) (Store, error)) { openers.Register(scheme, open) }

// Registered reports whether a store of that scheme is linked in.
func Registered(scheme string) bool { return openers.Registered(scheme) }

// Open opens the store of a URL, such as redis://localhost:6379, sqlite:handled.db or memory://. It does not wait for a server. A
// store that has something to release is an io.Closer. Its errors show no password.
func Open(url string) (Store, error) { return openers.Open(url) }
