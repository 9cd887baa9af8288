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
	EnvConfig = "EVENTBUS_CONFIG" // a YAML file; EVENTBUS_URL overrides its url
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
		cfg.URL = url
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
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	conn, err := brokers.Open(ctx, cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("bus: open: %w", err)
	}
	b, err := newBus(ctx, conn, schemeOf(cfg.URL), cfg, opts)
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return b, nil
}

// schemeOf returns the scheme of a URL that a driver has accepted.
func schemeOf(url string) string {
	u, err := brokers.ParseURL(url)
	if err != nil {
		return ""
	}
	return u.Scheme
}
