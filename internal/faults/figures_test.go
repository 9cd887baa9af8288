package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// inFull says that this run is alone on its machine, and measures.
var inFull = os.Getenv("EVENTBUS_FULL") == "1"

// full returns n in full size, and a short form of it otherwise.
func full(n, short int) int {
	if inFull {
		return n
	}
	return short
}

// within returns the bound that the table names, in full size. A run beside others shows that the thing happens at all: how
// soon it does is the machine's business there.
func within(bound time.Duration) time.Duration {
	if inFull {
		return bound
	}
	return max(bound, patience)
}

// figure prints what a row of the table measured: one line, in the test's log and in the file that EVENTBUS_FIGURES
// names.
func figure(t *testing.T, row, format string, args ...any) {
	t.Helper()
	line := row + ": " + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	t.Log(line)
	path := os.Getenv("EVENTBUS_FIGURES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("EVENTBUS_FIGURES: %v", err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Errorf("EVENTBUS_FIGURES: %v", err)
	}
}

// percentile returns the p-th percentile of durations, which it sorts.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(p/100*float64(len(d))))]
}

// mib is a growth of bytes in MiB, for figures.
func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(max(bytes, 0))/(1<<20)) }

// ms is a duration rounded for figures.
func ms(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	default:
		return d.Round(100 * time.Nanosecond)
	}
}
