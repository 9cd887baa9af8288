package bus

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/eventbus-go/eventbus/internal/yamlfile"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// NoDedup in a configuration keeps a subscription from recognising events that it has handled, whatever the code says.
const NoDedup = "off"

// DedupConfig is what a configuration says of a subscription's deduplication. What it leaves out is the code's.
type DedupConfig struct {
	// Off turns it off. It excludes the other fields.
	Off bool
	// Scope, Window, Lease and Timeout replace those of Subscription.Dedup; see [middleware.DedupPolicy].
	Scope                  string
	Window, Lease, Timeout time.Duration
	// WhenDown replaces that of Subscription.Dedup: "wait" or "handle".
	WhenDown string
}

// dedupPolicies are the values of when_down.
var dedupPolicies = map[string]middleware.DedupWhenDown{"wait": middleware.DedupWait, "handle": middleware.DedupHandle}

func (c *DedupConfig) check(at string) error {
	if c == nil {
		return nil
	}
	if c.Off && *c != (DedupConfig{Off: true}) {
		return &ConfigError{at, "is off and has settings besides: leave out either"}
	}
	if _, known := dedupPolicies[c.WhenDown]; c.WhenDown != "" && !known {
		return &ConfigError{at + ".when_down", fmt.Sprintf("is %q: it is wait or handle", c.WhenDown)}
	}
	const least = 10 * time.Millisecond
	orUnset := func(setting string, d, low, high time.Duration) error {
		if d == 0 {
			return nil
		}
		return inRange(at+"."+setting, d, low, high)
	}
	return cmp.Or(
		orUnset("window", c.Window, time.Second, 366*24*time.Hour),
		orUnset("lease", c.Lease, time.Second, 24*time.Hour),
		orUnset("timeout", c.Timeout, least, time.Minute),
	)
}

// apply sets in p what the configuration says.
func (c *DedupConfig) apply(p *DedupPolicy) {
	switch {
	case c == nil:
		return
	case c.Off:
		*p = DedupPolicy{}
		return
	}
	p.Scope = cmp.Or(c.Scope, p.Scope)
	p.Window = cmp.Or(c.Window, p.Window, middleware.DefaultDedupWindow) // so that it is wanted
	p.Lease = cmp.Or(c.Lease, p.Lease)
	p.Timeout = cmp.Or(c.Timeout, p.Timeout)
	if c.WhenDown != "" {
		p.WhenDown = dedupPolicies[c.WhenDown]
	}
}

// openDedup opens the store that the configuration names, to be used by the subscriptions that ask for it.
func (c *Config) openDedup() (dedup.Store, error) {
	if c.Dedup == "" {
		return nil, nil
	}
	s, err := dedup.Open(c.Dedup)
	if err != nil {
		return nil, &ConfigError{"dedup", "cannot be opened: " + err.Error()}
	}
	return s, nil
}

// dedupStore gives a subscription that wants to recognise events a store where it has none: that of the configuration, else the
// server of the default broker where a store is known for it, else memory. b.mu is held.
func (b *Bus) dedupStore(s *Subscription) error {
	if !s.Dedup.Wanted() || s.Dedup.Store != nil {
		return nil
	}
	if b.dedup == nil {
		store, err := b.defaultDedup()
		if err != nil {
			return err
		}
		b.dedup = store
	}
	s.Dedup.Store = b.dedup
	return nil
}

func (b *Bus) defaultDedup() (dedup.Store, error) {
	if scheme := schemeOf(b.server); scheme != "memory" && dedup.Registered(scheme) {
		s, err := dedup.Open(b.server)
		if err != nil {
			return nil, fmt.Errorf("dedup: %w", err)
		}
		return s, nil
	}
	if b.links[0].scheme != "memory" {
		b.reporter.note("dedup in memory", slog.LevelWarn, "handled events are remembered in this process only, and forgotten with it: "+
			"set dedup to a URL such as redis://localhost:6379 or sqlite:handled.db, or to memory:// if that is meant",
			"at_most", dedup.DefaultEvents)
	}
	return dedup.NewMemory(0), nil
}

// closeDedup closes the bus's own store.
func (b *Bus) closeDedup() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return discardDedup(b.dedup)
}

func discardDedup(s dedup.Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// dedupFile is the shape of a DedupConfig.
type dedupFile struct {
	Off      bool     `yaml:"-"`
	Scope    string   `yaml:"scope"`
	Window   duration `yaml:"window"`
	Lease    duration `yaml:"lease"`
	Timeout  duration `yaml:"timeout"`
	WhenDown string   `yaml:"when_down"`
}

// UnmarshalYAML takes "off", or a text for a window.
func (f *dedupFile) UnmarshalYAML(unmarshal func(any) error) error {
	type full dedupFile
	return yamlfile.TextOr(unmarshal, func(s string) error {
		if f.Off = s == NoDedup; f.Off {
			return nil
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			return errors.New("this has to be a window such as 24h, settings such as {window: 24h, when_down: handle}, or off")
		}
		f.Window = duration(v)
		return nil
	}, (*full)(f))
}

func (f *dedupFile) config() *DedupConfig {
	if f == nil {
		return nil
	}
	return &DedupConfig{
		Off: f.Off, Scope: f.Scope, Window: time.Duration(f.Window), Lease: time.Duration(f.Lease),
		Timeout: time.Duration(f.Timeout), WhenDown: f.WhenDown,
	}
}
