package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A plan is how much is measured.
type plan struct {
	rounds  int           // runs of each side
	run     time.Duration // of sustained load, for each run
	emit    int           // paced calls of each run
	latency int           // paced events of each run
	codec   time.Duration // of each run
	frozen  time.Duration // how long the server stays frozen; 0 leaves the row out
	more    bool          // rows beyond those of the JSON object
}

var (
	fullPlan = plan{
		rounds: 5, run: time.Second, emit: 100_000, latency: 20_000, codec: 200 * time.Millisecond,
		frozen: 10 * time.Second, more: true,
	}
	shortPlan = plan{
		rounds: 3, run: 500 * time.Millisecond, emit: 50_000, latency: 10_000, codec: 100 * time.Millisecond,
	}
)

// A lab is where experiments are made.
type lab struct {
	plan
	redis    *testbroker.Redis
	clock    int64 // ns that reading the clock costs
	progress io.Writer
	figures  figures
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.progress, format+"\n", args...) }

// A side is one of the things that are compared.
type side struct {
	name string
	run  func(ctx context.Context) (sample, error)
}

// settleTime lets sockets close and the server tidy up between two runs.
const settleTime = 20 * time.Millisecond

// inTurns runs the sides A B A B, with the garbage of the run before collected, and returns each side's samples.
func (l *lab) inTurns(ctx context.Context, sides ...side) ([][]sample, error) {
	all, pause := make([][]sample, len(sides)), newRest()
	for round := range l.rounds {
		for i, s := range sides {
			runtime.GC()
			if err := pause.take(ctx, settleTime); err != nil {
				return nil, err
			}
			got, err := s.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			all[i] = append(all[i], got)
			l.say("  %d/%d %-46s %s", round+1, l.rounds, s.name, brief(got))
		}
	}
	return all, nil
}

// sustain calls step, which handles some events and says how many, until the given time is over.
func sustain(d time.Duration, step func() (int, error)) (n int, start int64, err error) {
	start = now()
	for now()-start < int64(d) {
		k, err := step()
		if err != nil {
			return n, start, err
		}
		n += k
	}
	return n, start, nil
}

// stride is how many events pass between two looks at the clock.
const stride = 64
