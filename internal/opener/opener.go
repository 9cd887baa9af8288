// Package opener finds what opens a store by the scheme of a URL: packages register theirs when they are linked in, as database/sql
// drivers do.
package opener

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Openers are what is linked in to open stores of one kind, by scheme. The methods are safe for concurrent use.
type Openers[Store any] struct {
	// Package is whose stores they are, for the panic of Register.
	Package string
	// Example is a file that a URL of the error's remedy names.
	Example string
	// ErrNoScheme is what Open wraps where nothing has the URL's scheme.
	ErrNoScheme error

	mu   sync.Mutex
	open map[string]func(url string) (Store, error)
}

// Register makes a store known by its scheme. It panics where the scheme is taken.
func (o *Openers[Store]) Register(scheme string, open func(url string) (Store, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open[scheme] != nil {
		panic(o.Package + ": two stores for " + scheme + "://")
	}
	if o.open == nil {
		o.open = make(map[string]func(url string) (Store, error))
	}
	o.open[scheme] = open
}

// Registered reports whether a store of that scheme is linked in.
func (o *Openers[Store]) Registered(scheme string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[scheme] != nil
}

// Open opens the store of a URL. Its own errors show nothing of the URL but its scheme.
func (o *Openers[Store]) Open(url string) (store Store, err error) {
	scheme, _, ok := strings.Cut(url, ":")
	o.mu.Lock()
	open := o.open[scheme]
	known := slices.Sorted(maps.Keys(o.open))
	o.mu.Unlock()
	switch {
	case !ok || scheme == "":
		return store, errors.New("this is no URL: write it as redis://localhost:6379, sqlite:" + o.Example + " or memory://")
	case open == nil:
		return store, fmt.Errorf("%w: %s (there are %s; import brokers/redis or store/sqlite for others)", o.ErrNoScheme, scheme,
			strings.Join(known, ", "))
	}
	return open(url)
}
