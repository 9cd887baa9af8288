package faults

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

// heapInUse returns the bytes of the heap that hold objects or are kept for them, as runtime.MemStats.HeapInuse does,
// but without stopping the program, which would show in the latencies.
func heapInUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() + s[1].Value.Uint64())
}

// heapAtRest collects garbage and returns what is in use then.
func heapAtRest() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	return heapInUse()
}

// A heapWatch notes the most that the heap ever had in use.
type heapWatch struct {
	before int64
	stop   chan struct{}
	wg     sync.WaitGroup
	most   int64
}

func watchHeap() *heapWatch {
	w := &heapWatch{before: heapAtRest(), stop: make(chan struct{})}
	w.wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			w.most = max(w.most, heapInUse())
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
		}
	})
	return w
}

// grown ends the watch and returns by how much the heap grew at most, and by how much in the end.
func (w *heapWatch) grown() (most, after int64) {
	close(w.stop)
	w.wg.Wait()
	return w.most - w.before, heapAtRest() - w.before
}

// descriptors returns how many files and sockets this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
