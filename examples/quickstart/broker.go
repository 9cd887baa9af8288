package main

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/all" // a driver for each scheme of a URL
	"github.com/eventbus-go/eventbus/bus"
)

// chooseBroker returns the URL of the broker to use, and what stops it where it is ours.
func chooseBroker(out *console, url string) (string, func(), error) {
	if url == "" {
		return startEmbedded(out)
	}
	parsed, err := brokers.ParseURL(url)
	if err != nil {
		return "", nil, err
	}
	out.line("The broker is %s.", parsed) // without its password
	return url, func() {}, nil
}

// startEmbedded starts a server inside this program that speaks the Redis protocol, on a free port of this machine, so
// that the example needs nothing installed. It returns its URL and what stops it.
func startEmbedded(out *console) (url string, stop func(), err error) {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return "", nil, fmt.Errorf("embedded server: %w", err)
	}
	out.line("No broker is named (EVENTBUS_URL is empty), so this program starts one in its own process:")
	out.line("an embedded Redis-protocol server on %s.", server.Addr())
	out.line("")
	out.line("With -serve there is time to listen in from another terminal:")
	out.line("    redis-cli -p %s subscribe user_service.events.all", server.Port())
	return "redis://" + server.Addr(), server.Close, nil
}

// patienceAtStart is how long the broker may take to answer and to confirm the subscriptions.
const patienceAtStart = 5 * time.Second

const remedy = "Start that broker, name another one with -url or " + bus.EnvURL + ",\n" +
	"or name none: then this program brings its own."

// startReceiving asks the broker for a sign of life, so that one which is down is noticed at once, and then waits until it
// has confirmed every subscription, since Redis Pub/Sub forgets what nobody is subscribed to. A service that only publishes
// needs neither.
func startReceiving(ctx context.Context, b *bus.Bus) error {
	ctx, cancel := context.WithTimeout(ctx, patienceAtStart)
	defer cancel()
	if err := b.Health(ctx); err != nil {
		return err
	}
	return b.Start(ctx)
}

func closeWithin(ctx context.Context, b *bus.Bus, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return b.Close(ctx)
}
