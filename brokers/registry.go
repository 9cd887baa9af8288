package brokers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Driver opens connections for the URLs of one scheme.
type Driver struct {
	// Scheme is what its URLs begin with, such as "redis".
	Scheme string
	// Promises are the capabilities of a connection opened without any parameter. They let the bus name the brokers
	// that could, when another one cannot.
	Promises Capabilities
	// Open checks u and returns a connection. It does not wait for the broker: a service starts while its broker is
	// down. It reports a URL that can never work: a parameter nobody knows (see URL.ParamsErr), a file that is not there.
	Open func(ctx context.Context, u *URL) (Conn, error)
}

var registry struct {
	sync.RWMutex
	drivers map[string]Driver
}

// Register makes a driver known by its scheme. It is called from a driver's init, and panics where the scheme is taken.
func Register(d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if registry.drivers == nil {
		registry.drivers = make(map[string]Driver)
	}
	if _, taken := registry.drivers[d.Scheme]; taken {
		panic("brokers: two drivers register the scheme " + d.Scheme)
	}
	registry.drivers[d.Scheme] = d
}

// Drivers returns the drivers linked into this program, by scheme.
func Drivers() []Driver {
	registry.RLock()
	defer registry.RUnlock()
	out := make([]Driver, 0, len(registry.drivers))
	for _, d := range registry.drivers {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Driver) int { return strings.Compare(a.Scheme, b.Scheme) })
	return out
}

// Open parses a URL and opens a connection with the driver of its scheme. It does not wait for the broker.
func Open(ctx context.Context, rawURL string) (Conn, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	registry.RLock()
	d, ok := registry.drivers[u.Scheme]
	registry.RUnlock()
	if !ok {
		return nil, fmt.Errorf("no driver for %s:// is linked into this program (%s): import its package for its side effect, "+
			`or _ "github.com/eventbus-go/eventbus/brokers/all"`, u.Scheme, schemesText())
	}
	return d.Open(ctx, u)
}

// Promising returns the schemes of the linked drivers whose promises satisfy ok, sorted.
func Promising(ok func(Capabilities) bool) []string {
	var out []string
	for _, d := range Drivers() {
		if ok(d.Promises) {
			out = append(out, d.Scheme)
		}
	}
	return out
}

func schemesText() string {
	drivers := Drivers()
	if len(drivers) == 0 {
		return "no driver is linked"
	}
	names := make([]string, len(drivers))
	for i, d := range drivers {
		names[i] = d.Scheme + "://"
	}
	return "linked: " + strings.Join(names, ", ")
}
