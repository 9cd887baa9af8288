package redis

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Format is how an entry of a stream carries a message: ?format=name in a URL of redis+stream chooses one that was
// registered. Without it a stream has entries of our own format. Its methods are safe for concurrent use.
type Format interface {
	// Fields returns the fields of the entry for m. An error says that no entry can carry it: the message is Rejected.
	Fields(m *brokers.Message) ([]Field, error)
	// Read sets what the fields of an entry say of a message: everything but its Channel. An error says that the
	// entry is not of this format: it is delivered as Malformed with ReasonForeign, and with the Body that Read has
	// set.
	Read(m *brokers.Message, fields []Field) error
	// Key returns the name of the stream that has the entries of a channel.
	Key(channel string) string
	// Channel is the inverse of Key: false where there is no channel with a stream of this name. It is how patterns
	// find streams that a publisher other than this package has made.
	Channel(key string) (string, bool)
}

// A Field is a name and a value of an entry.
type Field struct{ Name, Value string }

var formats struct {
	sync.RWMutex
	byName map[string]Format
}

// RegisterFormat makes a format known by its name. It is called from an init, and panics where the name is taken.
func RegisterFormat(name string, f Format) {
	formats.Lock()
	defer formats.Unlock()
	if formats.byName == nil {
		formats.byName = make(map[string]Format)
	}
	if _, taken := formats.byName[name]; taken {
		panic("redis: two formats are registered as " + name)
	}
	formats.byName[name] = f
}

// formatNamed returns the format with a name; nil for our own.
func formatNamed(name string) (Format, error) {
	if name == "" || name == "eventbus" {
		return nil, nil
	}
	formats.RLock()
	defer formats.RUnlock()
	if f := formats.byName[name]; f != nil {
		return f, nil
	}
	known := []string{"eventbus"}
	for n := range formats.byName {
		known = append(known, n)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("format %q is not linked into this program (it has %s): watermill is in the package "+
		"brokers/redis/watermill, to be imported for its side effect", name, strings.Join(known, ", "))
}
