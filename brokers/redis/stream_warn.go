package redis

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// warnings are what the operator should know, by what they are about.
type warnings struct {
	mu     sync.Mutex
	byKind map[string]string
	looked time.Time // when the server's settings were last looked at
}

// set sets a warning, or takes it back where text is empty.
func (w *warnings) set(kind, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text == "" {
		delete(w.byKind, kind)
		return
	}
	if w.byKind == nil {
		w.byKind = make(map[string]string)
	}
	w.byKind[kind] = text
}

// replace sets warnings by kinds that begin with prefix, and takes back all others that do.
func (w *warnings) replace(prefix string, byKind map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.byKind, func(kind, _ string) bool { return strings.HasPrefix(kind, prefix) })
	if w.byKind == nil {
		w.byKind = make(map[string]string)
	}
	maps.Copy(w.byKind, byKind)
}

// due reports whether the server's settings should be looked at again.
func (w *warnings) due(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.looked) < lookEvery {
		return false
	}
	w.looked = now
	return true
}

// lookEvery is how often new connections look at the server's settings.
const lookEvery = 5 * time.Second

// Warnings returns what was noticed about the server: see brokers.Warner.
func (c *stream) Warnings() []string {
	c.warnings.mu.Lock()
	defer c.warnings.mu.Unlock()
	return slices.Sorted(maps.Values(c.warnings.byKind))
}

const (
	warnNoAOF = "the server has no append-only file: what it confirmed is gone when it dies, but for its last snapshot; " +
		"set appendonly yes"
	warnVolatile = "the server may evict streams when its memory is full (maxmemory-policy %s): set noeviction, and events are " +
		"refused instead of lost"
)

// A clusterError refuses a server that is one of a cluster.
type clusterError struct{}

func (clusterError) Error() string {
	return "this server is part of a Redis Cluster, which redis+stream:// does not support: use a single server, or sentinels with " +
		"sentinel=, the name of the master"
}

// greet is called for each new connection, before it is used: see the function of the same name. It also looks at the
// server's settings now and then. A user without the right to do so is left alone.
func (c *stream) greet(ctx context.Context, cn *goredis.Conn) error {
	if err := greet(ctx, cn); err != nil {
		return err
	}
	if !c.warnings.due(time.Now()) {
		return nil
	}
	server, err := cn.Info(ctx, "server").Result()
	if err != nil {
		return ignoreReply(err)
	}
	if infoValue(server, "redis_mode") == "cluster" {
		c.warnings.mu.Lock()
		c.warnings.looked = time.Time{} // so that each connection is refused
		c.warnings.mu.Unlock()
		return clusterError{}
	}
	return c.look(ctx, cn)
}

// look notes what of the server's settings weakens our promises.
func (c *stream) look(ctx context.Context, cn *goredis.Conn) error {
	text, err := cn.Info(ctx, "persistence").Result()
	if err != nil {
		return ignoreReply(err)
	}
	aof := ""
	if infoValue(text, "aof_enabled") == "0" {
		aof = warnNoAOF
	}
	c.warnings.set("aof", aof)
	if text, err = cn.Info(ctx, "memory").Result(); err != nil {
		return ignoreReply(err)
	}
	evicts := ""
	if policy := infoValue(text, "maxmemory_policy"); strings.HasPrefix(policy, "allkeys-") {
		evicts = strings.Replace(warnVolatile, "%s", policy, 1)
	}
	c.warnings.set("eviction", evicts)
	return nil
}

// ignoreReply returns err unless it is what the server replied.
func ignoreReply(err error) error {
	if isReply(err) {
		return nil
	}
	return err
}

// infoValue returns a value of what INFO replies.
func infoValue(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
