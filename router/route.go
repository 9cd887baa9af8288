package router

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/schema"
)

// A Route is where events of one type, source and priority go. It is shared and never changes: nobody modifies it.
type Route struct {
	// Channels are whole names, none twice, in the order in which the rules first named them.
	Channels []string
	// Legs are the same channels by the exit that they leave by, in the order in which the rules first named the exits. A
	// channel that is on two brokers is in two of them.
	Legs []Leg
}

// Route returns where an event of that type, source and priority goes, or a [*NoRouteError]. All rules that match
// contribute, in their order, up to the first that matches and says Stop.
//
// The answer is remembered for the three together, in a cache of bounded size (4096), so that asking again costs a hash
// and allocates nothing. The type is taken to be a valid one: no rule matches any other.
func (r *Router) Route(eventType, source string, p schema.Priority) (*Route, error) {
	k := routeKey{eventType, source, p}
	h := r.cache.hash(k)
	if e := r.cache.get(h, k); e != nil {
		return e.route, e.err
	}
	e := r.resolve(k)
	r.cache.put(h, e)
	return e.route, e.err
}

// resolve evaluates the rules.
func (r *Router) resolve(k routeKey) *routeEntry {
	route := &Route{}
	for _, c := range r.rules {
		if !c.applies(k.eventType, k.source, k.priority) {
			continue
		}
		route.add(c)
		if c.Stop {
			break
		}
	}
	k = k.clone()
	if len(route.Legs) == 0 {
		return &routeEntry{key: k, err: r.noRoute(k)}
	}
	return &routeEntry{key: k, route: route}
}

// add contributes a rule's channels.
func (route *Route) add(c *rule) {
	i := slices.IndexFunc(route.Legs, func(l Leg) bool { return l.Exit == c.exit })
	if i < 0 {
		i = len(route.Legs)
		route.Legs = append(route.Legs, Leg{Exit: c.exit})
	}
	leg := &route.Legs[i]
	for _, ch := range c.channels {
		if !slices.Contains(leg.Channels, ch) {
			leg.Channels = append(leg.Channels, ch)
		}
		if !slices.Contains(route.Channels, ch) {
			route.Channels = append(route.Channels, ch)
		}
	}
}

func (r *Router) noRoute(k routeKey) *NoRouteError {
	e := &NoRouteError{Type: k.eventType, Source: k.source, Priority: k.priority}
	for _, c := range r.rules {
		e.Tried = append(e.Tried, c.summary())
	}
	return e
}

type routeKey struct {
	eventType, source string
	priority          schema.Priority
}

// clone copies the strings, which may be cut out of something larger that a cache must not keep alive.
func (k routeKey) clone() routeKey {
	return routeKey{strings.Clone(k.eventType), strings.Clone(k.source), k.priority}
}

// A routeEntry is one remembered answer. It never changes.
type routeEntry struct {
	key   routeKey
	route *Route
	err   error
}

// The cache has cacheSets sets of cacheWays entries each, 4096 together: many times what the types of one system need,
// and no more than a few hundred kilobytes where a publisher makes up types without end.
const (
	cacheSets = 1024
	cacheWays = 4
)

// A routeCache is a set-associative hash table without locks: a key has one set, by its hash, and is in any of the four
// places there. Who puts an entry into a full set overwrites one. Suppose two goroutines put at the same time: one entry
// may be lost, or be there twice; either costs one more evaluation, and never a wrong answer, since the key is compared.
type routeCache struct {
	seed maphash.Seed
	sets [cacheSets][cacheWays]atomic.Pointer[routeEntry]
}

func newRouteCache() *routeCache { return &routeCache{seed: maphash.MakeSeed()} }

func (c *routeCache) hash(k routeKey) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio, as in Fibonacci hashing
	h := maphash.String(c.seed, k.eventType)
	return h ^ (maphash.String(c.seed, k.source)+uint64(k.priority))*odd
}

func (c *routeCache) get(h uint64, k routeKey) *routeEntry {
	set := &c.sets[h%cacheSets]
	for i := range set {
		if e := set[i].Load(); e != nil && e.key == k {
			return e
		}
	}
	return nil
}

func (c *routeCache) put(h uint64, e *routeEntry) {
	if len(e.key.eventType) > maxCachedText || len(e.key.source) > maxCachedText {
		return
	}
	set := &c.sets[h%cacheSets]
	for i := range set {
		if set[i].CompareAndSwap(nil, e) {
			return
		}
	}
	set[h/cacheSets%cacheWays].Store(e)
}

// maxCachedText is the longest type or source, in bytes, that is worth remembering: no valid event has a longer one.
const maxCachedText = 200
