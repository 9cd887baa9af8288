package bus

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/schema"
)

// A laneModel drives a lane with random operations next to a plain list that says what must happen.
type laneModel struct {
	t       *testing.T
	lane    *lane
	dropped []string // what was reported, in order, as reason:id
}

func newLaneModel(t *testing.T, limits LaneConfig) *laneModel {
	m := &laneModel{t: t}
	m.lane = newLane(limits, defaultBatch, func(reason DropReason, e *entry, channels []string, err error) {
		if want := bodyOf(e.id, len(e.body)); !bytes.Equal(e.body, want) {
			t.Errorf("the report of %s shows the body %q", e.id, e.body)
		}
		m.dropped = append(m.dropped, string(reason)+":"+e.id)
	})
	return m
}

// bodyOf is a body that shows whose it is in each of its bytes.
func bodyOf(id string, size int) []byte { return bytes.Repeat([]byte(id), size/len(id)+1)[:size] }

func (m *laneModel) emit(id string, p schema.Priority, size int) {
	m.t.Helper()
	ev := packed{id: id, typ: "t", key: id, channels: []string{"a", "b"}, priority: p}
	if err := m.lane.emit(m.t.Context(), &ev, bodyOf(id, size)); err != nil {
		m.t.Fatal(err)
	}
	m.balanced()
}

func (m *laneModel) balanced() {
	m.t.Helper()
	if l := m.lane.snapshot(); !l.Balanced() {
		m.t.Fatalf("the ledger does not balance: %+v", l)
	}
}

// send takes a batch and confirms it, and returns the ids in order.
func (m *laneModel) send(max int) []string {
	m.t.Helper()
	var b batch
	if ok, _ := m.lane.take(&b, max); !ok {
		return nil
	}
	var ids []string
	for _, e := range b.entries {
		if want := bodyOf(e.id, len(e.body)); !bytes.Equal(e.body, want) {
			m.t.Fatalf("the body of %s is %q", e.id, e.body)
		}
		ids = append(ids, e.id)
	}
	m.balanced()
	m.lane.mu.Lock()
	m.lane.confirm(&b, 0, len(b.msgs))
	m.lane.mu.Unlock()
	m.lane.settled(&b)
	m.balanced()
	return ids
}

func TestALaneKeepsTheOrderAndTheBooks(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		limits := LaneConfig{MaxEvents: 1 + rnd.IntN(200), MaxBytes: 1 << 20, WhenFull: DropNewest}
		m := newLaneModel(t, limits)
		var model []string
		for i := range 1000 {
			if rnd.IntN(10) > 0 {
				id := fmt.Sprintf("%04d", i)
				if len(model) < limits.MaxEvents {
					model = append(model, id)
				}
				m.emit(id, schema.Normal, 1+rnd.IntN(2000))
				continue
			}
			got := m.send(1 + rnd.IntN(50))
			if len(got) > len(model) || fmt.Sprint(got) != fmt.Sprint(model[:len(got)]) {
				t.Fatalf("seed %d: sent %v, want the head of %v", seed, got, model)
			}
			model = model[len(got):]
		}
	}
}

func TestDropLowestEvictsTheOldestOfTheLowestPriority(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		limits := LaneConfig{MaxEvents: 1 + rnd.IntN(100), MaxBytes: 1 << 20, WhenFull: DropLowest}
		m := newLaneModel(t, limits)
		type queued struct {
			id string
			p  schema.Priority
		}
		var model []queued
		var dropped []string
		for i := range 2000 {
			if rnd.IntN(20) == 0 {
				got := m.send(1 + rnd.IntN(20))
				for j, id := range got {
					if model[j].id != id {
						t.Fatalf("seed %d: sent %v, want the head of %v", seed, got, model)
					}
				}
				model = model[len(got):]
				continue
			}
			next := queued{fmt.Sprintf("%04d", i), schema.Priority(rnd.IntN(4) - 1)}
			m.emit(next.id, next.p, 1+rnd.IntN(1000))
			if len(model) == limits.MaxEvents {
				victim := -1
				for j, q := range model {
					if q.p < next.p && (victim < 0 || q.p < model[victim].p) {
						victim = j
					}
				}
				if victim < 0 {
					dropped = append(dropped, "lane_full:"+next.id)
					continue
				}
				dropped = append(dropped, "evicted:"+model[victim].id)
				model = append(model[:victim:victim], model[victim+1:]...)
			}
			model = append(model, next)
		}
		if fmt.Sprint(m.dropped) != fmt.Sprint(dropped) {
			t.Fatalf("seed %d: dropped\n%v, want\n%v", seed, m.dropped, dropped)
		}
	}
}

func TestALaneIsBoundedInBytes(t *testing.T) {
	m := newLaneModel(t, LaneConfig{MaxEvents: 1 << 16, MaxBytes: 10_000, WhenFull: DropNewest})
	for i := range 100 {
		m.emit(fmt.Sprintf("%04d", i), schema.Normal, 1000)
	}
	if l := m.lane.snapshot(); l.Queued != 20 || l.Dropped[DropLaneFull] != 180 {
		t.Errorf("10 events of 1,000 bytes on two channels fit into 10,000 bytes; the ledger says %+v", l)
	}
}

func TestTheMemoryOfALaneFollowsItsBoundAndNotItsThroughput(t *testing.T) {
	m := newLaneModel(t, LaneConfig{MaxEvents: 1 << 16, MaxBytes: 1 << 20, WhenFull: DropLowest})
	for i := range 100_000 { // never sent: each event of a higher priority evicts one
		m.emit(fmt.Sprintf("%06d", i), schema.Priority(i%4-1), 500)
		if i%4 == 3 {
			m.dropped = nil
		}
	}
	chunks := make(map[*chunk]bool)
	for e := range m.lane.queue.all() {
		if !e.dead {
			chunks[e.chunk] = true
		}
	}
	held := (len(chunks) + len(m.lane.store.free)) * chunkBytes
	if limit := 1<<20 + (8+defaultBatch.Bytes/chunkBytes)*chunkBytes; held > limit {
		t.Errorf("a lane of 1 MiB holds %d bytes in chunks, want at most %d", held, limit)
	}
	if slots := len(m.lane.queue.slots); slots > 8192 {
		t.Errorf("about 2,100 events are queued in %d slots", slots)
	}
}

func TestATaintedChunkIsNeverWrittenAgain(t *testing.T) {
	m := newLaneModel(t, LaneConfig{MaxEvents: 1 << 16, MaxBytes: 1 << 20})
	m.emit("aaaa", schema.Normal, 100)
	var b batch
	m.lane.take(&b, 10)
	stillRead := b.entries[0].body
	m.lane.taint(&b)
	m.lane.mu.Lock()
	m.lane.confirm(&b, 0, len(b.refs))
	m.lane.mu.Unlock()
	m.lane.settled(&b)
	for range 2000 {
		m.emit("bbbb", schema.Normal, 100)
		m.send(10)
	}
	if !bytes.Equal(stillRead, bodyOf("aaaa", 100)) {
		t.Error("memory that a driver may still be reading was written again")
	}
}

func TestBlockWaitsForRoomAndThenDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newLaneModel(t, LaneConfig{MaxEvents: 1, MaxBytes: 1 << 20, WhenFull: Block, BlockFor: 50 * time.Millisecond})
		m.emit("0000", schema.Normal, 10)

		start := time.Now()
		m.emit("0001", schema.Normal, 10)
		if waited := time.Since(start); waited != 50*time.Millisecond {
			t.Errorf("Emit on a full lane waited %v, want 50ms", waited)
		}
		if fmt.Sprint(m.dropped) != "[lane_full:0001]" {
			t.Errorf("dropped %v, want the one that found no room", m.dropped)
		}

		go func() {
			time.Sleep(20 * time.Millisecond)
			m.send(1)
		}()
		start = time.Now()
		m.emit("0002", schema.Normal, 10)
		if waited := time.Since(start); waited != 20*time.Millisecond {
			t.Errorf("Emit waited %v for room that was made after 20ms", waited)
		}
		synctest.Wait()
		if got := m.send(1); fmt.Sprint(got) != "[0002]" {
			t.Errorf("sent %v, want the one that waited", got)
		}
	})
}

func TestEmitAfterCloseIsRefused(t *testing.T) {
	l := newLane(LaneConfig{MaxEvents: 10, MaxBytes: 1000}, defaultBatch, nil)
	l.close()
	if err := l.emit(context.Background(), &packed{channels: []string{"a"}}, nil); err != ErrClosed {
		t.Errorf("Emit on a closed lane returned %v, want ErrClosed", err)
	}
}
