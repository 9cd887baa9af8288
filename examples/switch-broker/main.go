// Switch-broker is one program for every broker: what it prints is the same, byte for byte, whichever one carries its events.
//
//	go run ./examples/switch-broker                                  # in this process, with nothing installed
//	go run ./examples/switch-broker -url redis://localhost:6379      # Redis Pub/Sub
//	go run ./examples/switch-broker -url redis+stream://localhost:6379
//	go run ./examples/switch-broker -url nats://localhost:4222
//	go run ./examples/switch-broker -url nats+js://localhost:4222
//	go run ./examples/switch-broker -url kafka://localhost:9092
//	go run ./examples/switch-broker -url amqp://localhost:5672
//
// The program that runs on another broker for good differs from this one by one line, that of defaultURL. The story is in
// shop.go, which knows of no broker; transcript.go prints what happens in an order that no broker decides.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/all"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
)

// defaultURL is the broker.
const defaultURL = "memory://"

func main() {
	url := flag.String("url", "", "the broker's `URL` (default: "+bus.EnvURL+", else "+defaultURL+")")
	flag.Parse()
	if *url == "" { // not as the flag's default: -help prints defaults, and this one may hold a password
		*url = os.Getenv(bus.EnvURL)
	}
	if *url == "" {
		*url = defaultURL
	}
	if err := run(context.Background(), *url, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "switch-broker:", err)
		os.Exit(1)
	}
}

// rules send every event to the channel of its subject and to all of them.
var rules = router.Config{Prefix: "switch_broker", Rules: []router.Rule{
	{Name: "orders", Match: []string{"order.*"}, Channels: []string{"orders"}},
	{Name: "payments", Match: []string{"payment.*"}, Channels: []string{"payments"}},
	{Name: "all", Match: []string{">"}, Channels: []string{"all"}},
}}

// run tells the story on the broker of a URL.
func run(ctx context.Context, url string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	b, err := bus.OpenConfig(ctx, bus.Config{URL: url, Source: "shop", Config: rules, EnsureChannels: true})
	if err != nil {
		return err
	}
	defer b.Close(ctx) // for the early returns: a second Close does nothing
	s := &shop{bus: b, t: &transcript{out: out, arrived: make(chan struct{}, 1)}}
	if err := s.subscribe(b); err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	if err := s.story(ctx); err != nil {
		return err
	}
	if err := b.Close(ctx); err != nil {
		return err
	}
	return s.account(b.Stats())
}
