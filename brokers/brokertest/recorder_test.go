package brokertest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A recorder is a T that remembers what a case found, so that the suite can be turned on itself.
type recorder struct {
	ctx context.Context
	// helper, if set, is called on the case's goroutine between its steps: each step begins with Helper.
	helper func()

	mu    sync.Mutex
	found []string
}

func (r *recorder) Helper() {
	if r.helper != nil {
		r.helper()
	}
}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Logf(string, ...any)      {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.found) > 0
}

// judge runs one case and returns what it found.
func judge(t *testing.T, h Harness, c Case, helper func()) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &recorder{ctx: ctx, helper: helper}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runCase(r, h.withDefaults(), c)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.found, "; ")
}

// named returns the case of that name.
func named(t *testing.T, name string) Case {
	t.Helper()
	for _, c := range Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %q", name)
	return Case{}
}
