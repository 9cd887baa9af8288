package bus

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/eventbus-go/eventbus/brokers"
)

// DefaultURL is the broker of a service that names none: Redis Pub/Sub on this machine.
const DefaultURL = "redis://localhost:6379"

// The environment variables that [OpenEnv] reads.
const (
	EnvURL    = "EVENTBUS_URL"    // the broker's URL
	EnvConfig = "EVENTBUS_CONFIG" // a YAML file; EVENTBUS_URL overrides the URL of its default broker
)

// Open opens the broker of a URL with the default settings. An empty URL means the environment, see [OpenEnv]. It does not
// wait for the broker: a service starts while its broker is down, and [Bus.Health] tells. Of ctx only the values are used
// once Open has returned.
//
// The driver of the URL's scheme has to be linked in: import its package, or brokers/all.
func Open(ctx context.Context, url string, opts ...Option) (*Bus, error) {
	if url == "" {
		return OpenEnv(ctx, opts...)
	}
	return OpenConfig(ctx, Config{URL: url}, opts...)
}

// OpenEnv opens what the environment says: the file that EVENTBUS_CONFIG names, the broker that EVENTBUS_URL names, or
// both. The default is [DefaultURL] with the default settings.
func OpenEnv(ctx context.Context, opts ...Option) (*Bus, error) {
	var cfg Config
	if path := os.Getenv(EnvConfig); path != "" {
		var err error
		if cfg, err = LoadConfig(path); err != nil {
			return nil, err
		}
	}
	if url := os.Getenv(EnvURL); url != "" {
		cfg.overrideURL(url)
	}
	return OpenConfig(ctx, cfg, opts...)
}

// OpenFile opens what a YAML file says; see [Config] for what may be in it.
func OpenFile(ctx context.Context, path string, opts ...Option) (*Bus, error) {
	cfg, err := LoadConfig(path)
	if err != nil {
		return nil, err
	}
	return OpenConfig(ctx, cfg, opts...)
}

// OpenConfig opens what cfg says. Its errors name what is wrong and the remedy; a password appears in none of them.
func OpenConfig(ctx context.Context, cfg Config, opts ...Option) (*Bus, error) {
	return open(ctx, cfg, opts)
}

// givenConn stands for the scheme of a connection that the bus was given.
const givenConn = "the given connection"

// openLinks opens the planned brokers that are not given, or none of them.
func openLinks(ctx context.Context, plans []brokerPlan, given map[string]brokers.Conn) ([]*link, error) {
	var links []*link
	for _, p := range plans {
		conn, scheme, err := given[p.name], givenConn, error(nil)
		if conn == nil {
			conn, err = brokers.Open(ctx, p.url)
			scheme = schemeOf(p.url)
		}
		if err != nil && len(plans) > 1 {
			err = fmt.Errorf("broker %s: %w", p.name, err)
		}
		if err != nil {
			return nil, errors.Join(err, closeOpened(ctx, links, given))
		}
		links = append(links, newLink(conn, p, scheme, len(plans) > 1))
	}
	return links, nil
}

// closeOpened closes what openLinks has opened.
func closeOpened(ctx context.Context, links []*link, given map[string]brokers.Conn) error {
	var errs []error
	for _, l := range links {
		if given[l.name] == nil {
			errs = append(errs, l.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// schemeOf returns the scheme of a URL that a driver has accepted.
func schemeOf(url string) string {
	u, err := brokers.ParseURL(url)
	if err != nil {
		return ""
	}
	return u.Scheme
}
