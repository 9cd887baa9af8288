package faults

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestAMessageThatMakesRedisCutTheSubscriberOffIsAGapOfSeconds(t *testing.T) {
	const size, events, rate = 100 << 20, 160_000, 2_000
	redis := testbroker.RealRedis(t)
	books := newWitness(t, redis.URL(), events)
	w := newWorld(t, books, bus.Config{}, bus.Hooks{})
	y := newTally("all", events, "user_service.events.all")
	w.count(y)
	ready := w.run()
	heap := watchHeap()
	m := startEmitter(t.Context(), w.Bus, events, rate, 1)
	m.reaches(t, rate/2)

	publishHuge(t, redis.Addr(), "user_service.events.all", size)
	sent := time.Now()
	gap := eventually(t, within(5*time.Second), "the gap is reported", func() bool { return len(y.gapList()) > 0 })
	y.resumes(t, sent.Add(gap), within(5*time.Second))
	resumed := time.Since(sent)
	m.reaches(t, int(m.returned.Load())+rate)
	m.stop()
	m.noErrors(t)
	w.quiet()
	most, left := heap.grown()
	l := y.everythingAccounted(t, books, ready, patience)
	w.shut()
	if resumed > 2*within(5*time.Second) || left > 32<<20 {
		t.Errorf("resubscribed after %v, and the heap has grown by %s for good", resumed, mib(left))
	}
	figure(t, "message of 100 MiB", "cut off, resubscribed and handed events after %v, with %d gap; %d events fell "+
		"into it, %d lost silently; "+
		"heap +%s at most, +%s after", ms(resumed), len(y.gapList()), l.inGaps, l.silent, mib(most), mib(left))
}

// publishHuge writes a PUBLISH piece by piece, so that the memory measured is not the test's own.
func publishHuge(t *testing.T, addr, channel string, size int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n", len(channel), channel, size)
	piece := bytes.Repeat([]byte("x"), 1<<16)
	for range size / len(piece) {
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(c, "\r\n")
	reply := make([]byte, 64)
	if _, err := c.Read(reply); err != nil || reply[0] != ':' {
		t.Fatalf("PUBLISH: %q, %v", reply, err)
	}
}
