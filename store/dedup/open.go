package dedup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrNoScheme says that no linked store has the URL's scheme.
var ErrNoScheme = errors.New("no such store of handled events is linked in")

var (
	openersMu sync.Mutex
	openers   = make(map[string]func(url string) (Store, error))
)

// Register makes a store known by the scheme of its URL. It is for the init function of the store's package, and panics
// where the scheme is taken.
func Register(scheme string, open func(url string) (Store, error)) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if openers[scheme] != nil {
		panic("dedup: two stores for " + scheme + "://")
	}
	openers[scheme] = open
}

// Registered reports whether a store of that scheme is linked in.
func Registered(scheme string) bool {
	openersMu.Lock()
	defer openersMu.Unlock()
	return openers[scheme] != nil
}

// Open opens the store of a URL, such as redis://localhost:6379, sqlite:handled.db or memory://. It does not wait for a server. A
// store that has something to release is an io.Closer. Its errors show no password.
func Open(url string) (Store, error) {
	scheme, _, ok := strings.Cut(url, ":")
	openersMu.Lock()
	open := openers[scheme]
	known := slices.Sorted(maps.Keys(openers))
	openersMu.Unlock()
	switch {
	case !ok || scheme == "":
		return nil, errors.New("this is no URL: write it as redis://localhost:6379, sqlite:handled.db or memory://")
	case open == nil:
		return nil, fmt.Errorf("%w: %s (there are %s; import brokers/redis or store/sqlite for others)", ErrNoScheme, scheme,
			strings.Join(known, ", "))
	}
	return open(url)
}
