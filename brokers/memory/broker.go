package memory

import (
	"slices"
	"strings"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	// maxRoutes bounds the cache of channels; a program has tens of them.
	maxRoutes = 4096
	// maxGroups bounds the groups of one broker, which live as long as it does.
	maxGroups = 1024
)

// A broker is what connections share.
type broker struct {
	name  string // empty for a private one
	conns int    // guarded by shared

	mu     sync.Mutex
	queues []*queue
	groups map[string]*queue
	routes map[string]*route
	// topology counts changes of queues, which make routes stale.
	topology uint64
	// pass numbers the attempts to let a batch in: see queue.refused.
	pass uint64
	// space is closed when a queue that refused a message has room; nil where no publisher waits.
	space chan struct{}
}

// A route is where the messages of one channel go. It never changes.
type route struct {
	channel string
	queues  []*queue
	err     error // the channel's name is none
}

var shared struct {
	sync.Mutex
	brokers map[string]*broker
}

// acquire returns the broker of that name, or a new private one.
func acquire(name string) *broker {
	shared.Lock()
	defer shared.Unlock()
	b := shared.brokers[name]
	if b == nil || name == "" {
		b = &broker{name: name, groups: make(map[string]*queue), routes: make(map[string]*route)}
	}
	if name != "" {
		if shared.brokers == nil {
			shared.brokers = make(map[string]*broker)
		}
		shared.brokers[name] = b
	}
	b.conns++
	return b
}

// release ends the broker with its last connection.
func release(b *broker) {
	shared.Lock()
	defer shared.Unlock()
	b.conns--
	if b.conns > 0 {
		return
	}
	if b.name != "" {
		delete(shared.brokers, b.name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		q.stopTimer()
	}
	b.queues, b.groups = nil, nil
	b.changed()
}

// routeOf returns the route of a channel. b.mu is held.
func (b *broker) routeOf(channel string) *route {
	if r := b.routes[channel]; r != nil {
		return r
	}
	if len(b.routes) >= maxRoutes {
		clear(b.routes)
	}
	channel = strings.Clone(channel)
	r := &route{channel: channel, err: brokers.CheckChannel(channel)}
	for _, q := range b.queues {
		if r.err == nil && q.wants(channel) {
			r.queues = append(r.queues, q)
		}
	}
	b.routes[channel] = r
	return r
}

// changed forgets the routes, and lets publishers that wait try again. b.mu is held.
func (b *broker) changed() {
	b.topology++
	clear(b.routes)
	b.wakePublishers()
}

func (b *broker) wakePublishers() {
	if b.space != nil {
		close(b.space)
		b.space = nil
	}
}

func (b *broker) add(q *queue) {
	b.queues = append(b.queues, q)
	b.changed()
}

func (b *broker) remove(q *queue) {
	if i := slices.Index(b.queues, q); i >= 0 {
		b.queues = slices.Delete(b.queues, i, i+1)
	}
	q.stopTimer()
	b.changed()
}
