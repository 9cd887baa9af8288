package schema

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/eventbus-go/eventbus/internal/pattern"
)

// A Catalogue is the events that one service defines: each type once, under one source. It is safe for concurrent use.
type Catalogue struct {
	source    string
	forbidden *Forbidden

	mu    sync.Mutex
	types map[string]TypeInfo
}

// TypeInfo is what a catalogue knows of a type.
type TypeInfo struct {
	Name     string   // such as "role.assigned"
	Source   string   // the publishing service; empty where the bus fills it in
	Priority Priority // the default
	Payload  string   // the payload's Go type, such as "userservice.RoleAssignedPayload"
}

// A CatalogueOption changes what [NewCatalogue] makes.
type CatalogueOption func(*Catalogue)

// WithForbidden sets what the fields of the catalogue's payloads must not name. The default is [DefaultForbidden]; nil
// forbids nothing.
func WithForbidden(f *Forbidden) CatalogueOption {
	return func(c *Catalogue) { c.forbidden = f }
}

// NewCatalogue makes an empty catalogue for the events of source, such as "user_service". An empty source means the
// source of the bus that publishes them.
func NewCatalogue(source string, opts ...CatalogueOption) *Catalogue {
	c := &Catalogue{source: source, forbidden: DefaultForbidden(), types: make(map[string]TypeInfo)}
	for _, opt := range opts {
		opt(c)
	}
	return c
}

// Types returns the catalogue's types, sorted by name.
func (c *Catalogue) Types() []TypeInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]TypeInfo, 0, len(c.types))
	for _, info := range c.types {
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b TypeInfo) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Lookup returns what the catalogue knows of the type called name.
func (c *Catalogue) Lookup(name string) (info TypeInfo, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, ok = c.types[name]
	return info, ok
}

// check reports what is wrong with a type that is about to be added, apart from its payload.
func (c *Catalogue) check(info TypeInfo) error {
	if err := pattern.CheckName(info.Name); err != nil {
		return fmt.Errorf("schema: the type's name: %w", err)
	}
	if !info.Priority.Valid() {
		return fmt.Errorf("schema: type %q: %v is no priority, use schema.Low, Normal, High or Critical",
			info.Name, info.Priority)
	}
	if c.source != "" {
		if problem := checkID(c.source); problem != "" {
			return fmt.Errorf("schema: type %q: the catalogue's source %s", info.Name, problem)
		}
	}
	return nil
}

// add adds a type under a name that is not yet taken.
func (c *Catalogue) add(info TypeInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, taken := c.types[info.Name]; taken {
		return fmt.Errorf("schema: type %q is defined twice in the catalogue of %q (first with %s): "+
			"give one of them another name", info.Name, c.source, old.Payload)
	}
	c.types[info.Name] = info
	return nil
}
