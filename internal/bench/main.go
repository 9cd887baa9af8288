package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"time"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// The longest that a run may take. They are there for a machine in trouble; the plans take half as long.
const (
	longestRun     = 5 * time.Minute
	longestShort   = 45 * time.Second
	longestBrokers = 10 * time.Minute
)

// An experiment makes the rows of one comparison.
type experiment struct {
	name string
	run  func(context.Context, *lab) ([]row, error)
}

var experiments = []experiment{
	{"emit", emitRows},
	{"publish", publishRows},
	{"subscribe", subscribeRows},
	{"memory", memoryRows},
	{"handling", handlingRows},
	{"latency", latencyRows},
	{"waiting", waitingRows},
	{"codec", codecRows},
	{"frozen", frozenRows},
}

// options are the command line.
type options struct {
	short, json, markdown bool
	brokers               bool
	row                   *regexp.Regexp
	cpuProfile            string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := program(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// program parses the command line, measures, and writes the result to out and what it is doing to progress.
func program(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	p, limit := fullPlan, longestRun
	if o.short {
		p, limit = shortPlan, longestShort
	}
	if o.brokers {
		limit = longestBrokers
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	redis, err := testbroker.Start(ctx, testbroker.RedisOptions{Name: "bench"})
	if err != nil {
		return err
	}
	err = measure(ctx, o, p, redis, out, progress)
	return errors.Join(err, redis.Stop())
}

func parse(args []string, usage io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.BoolVar(&o.short, "short", false, "measure less, in under 45 s")
	fs.BoolVar(&o.json, "json", false, "print one JSON object instead of the table")
	fs.BoolVar(&o.markdown, "markdown", false, "print the table as Markdown")
	fs.BoolVar(&o.brokers, "brokers", false, "measure Redis Streams, NATS, JetStream, Kafka and RabbitMQ, in under 10 minutes")
	fs.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile to this `file`")
	fs.Func("row", "measure only what this `regexp` matches: emit, publish, subscribe, memory, handling, latency, waiting, codec, "+
		"frozen; with -brokers streams, redrive, poison, nats, jetstream, kafka, rabbitmq",
		func(s string) (err error) {
			o.row, err = regexp.Compile(s)
			return err
		})
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag: see -help", fs.Arg(0))
	}
	if o.json && o.brokers {
		return o, errors.New("-json has no figures of -brokers: leave one of them out")
	}
	if o.json && o.markdown {
		return o, errors.New("-json and -markdown exclude each other")
	}
	return o, nil
}

// measure makes the experiments and writes what came out.
func measure(ctx context.Context, o options, p plan, redis *testbroker.Redis, out, progress io.Writer) error {
	l := &lab{plan: p, redis: redis, clock: clockCost(), progress: progress, figures: make(figures)}
	h := thisHost(redis.Version())
	l.say("%s; reading the clock costs %d ns, taken off where single calls are measured", h, l.clock)
	if text := busy(); text != "" {
		l.say("%s", text)
	}
	var rows []row
	list := experiments
	if o.brokers {
		list = brokerExperiments
	}
	for _, e := range list {
		if o.row != nil && !o.row.MatchString(e.name) {
			continue
		}
		start := now()
		got, err := e.run(ctx, l)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("%s: %w", e.name, err)
		}
		rows = append(rows, got...)
		l.say("%s: %.1f s", e.name, since(start).Seconds())
	}
	if len(rows) == 0 {
		return fmt.Errorf("-row %v matches nothing", o.row)
	}
	switch {
	case o.json:
		if o.row == nil {
			if err := l.figures.check(); err != nil {
				return err
			}
		}
		return writeJSON(out, l.figures)
	case o.markdown:
		return writeMarkdown(out, h, rows)
	}
	return writeTable(out, h, rows)
}
