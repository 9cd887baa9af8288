package faults

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

const envelope = `{"event_id":"%s","event_type":"role.assigned","timestamp":"2024-01-02T03:04:05Z","source":"s",` +
	`"subject":"user:1","actor":null,"resource":null,"priority":"high","data":%s,"metadata":{}}`

// A bad is a kind of message that is no event, and the reason that it must be counted under.
type bad struct {
	reason brokers.Reason
	body   func(r *rand.Rand, n int) []byte
}

func inEnvelope(data string) func(*rand.Rand, int) []byte {
	return func(_ *rand.Rand, n int) []byte { return fmt.Appendf(nil, envelope, fmt.Sprintf("bad-%d", n), data) }
}

// bads are the kinds, none of which is ever an event by accident.
var bads = []bad{
	{"syntax", func(r *rand.Rand, n int) []byte {
		b := make([]byte, 1+r.IntN(2000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		b[0] = byte(n%32) | 0x80 // neither a space nor a brace
		return b
	}},
	{"syntax", func(*rand.Rand, int) []byte { return nil }},
	{"syntax", func(r *rand.Rand, n int) []byte {
		whole := inEnvelope(`{"n":1}`)(r, n)
		return whole[:1+r.IntN(len(whole)-1)]
	}},
	{"syntax", inEnvelope(`{"n":01}`)},
	{"depth", inEnvelope(strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000))},
	{"depth", inEnvelope(`{"a":` + strings.Repeat("[", 100_000))},
	{"duplicate_key", func(_ *rand.Rand, n int) []byte {
		good := fmt.Sprintf(envelope, "good", "{}")
		return []byte(`{"event_id":"evil",` + good[len("{"):])
	}},
	{"utf8", inEnvelope("{\"name\":\"\xff\xfe\"}")},
	{"utf8", inEnvelope(`{"name":"\ud800"}`)},
	{"trailing_bytes", func(r *rand.Rand, n int) []byte { return append(inEnvelope(`{}`)(r, n), "{}"...) }},
	{"missing_field", func(*rand.Rand, int) []byte { return []byte(`{"event_type":"role.assigned"}`) }},
	{"bad_field", inEnvelope(`[]`)},
	{"bad_field", func(*rand.Rand, int) []byte { return fmt.Appendf(nil, envelope, "", "{}") }},
}

// big are over the limit of 1 MiB.
var big = []int{1<<20 + 1, 2 << 20, 4 << 20, 8 << 20, 16 << 20}

func TestForeignAndMalformedMessagesAreCountedAndHarmNoneOfTheirNeighbours(t *testing.T) {
	const channel, step = "user_service.events.all", 200
	foreign := full(10_000, 3_000)
	redis := testbroker.RealRedis(t)
	var mu sync.Mutex
	told := map[brokers.Reason]int64{}
	bodies := map[uint64]int{} // what the hook was given, less what was sent
	w := newWorld(t, connect(t, redis.PatientURL()), bus.Config{}, bus.Hooks{Malformed: func(m bus.Malformed) {
		mu.Lock()
		defer mu.Unlock()
		told[m.Reason]++
		if m.Size == len(m.Body) {
			bodies[digest(m.Body)]++
		} else if m.Size < len(m.Body) || m.Reason != brokers.ReasonTooLarge {
			t.Errorf("%s: the hook got %d bytes of %d", m.Reason, len(m.Body), m.Size)
		}
		if m.Channel != channel || m.Subscription != "all" {
			t.Errorf("the hook was told of %s on %s", m.Subscription, m.Channel)
		}
	}})
	good := newTally("all", foreign, channel)
	sub := w.count(good)
	w.run()

	want := map[brokers.Reason]int64{}
	random := rand.New(rand.NewPCG(1, 2))
	raw := redis.Client()
	for first := 0; first < foreign; first += step {
		pipe := raw.Pipeline()
		events := make([]schema.Event, 0, step)
		for i := first; i < min(first+step, foreign); i++ {
			b := bads[i%len(bads)]
			body := b.body(random, i)
			want[b.reason]++
			mu.Lock()
			bodies[digest(body)]--
			mu.Unlock()
			pipe.Publish(t.Context(), channel, body)
			events = append(events, numbered(i))
			if len(events)%20 == 0 {
				if _, err := pipe.Exec(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := w.Publish(t.Context(), events...); err != nil {
					t.Fatal(err)
				}
				events = events[:0]
			}
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if at := first / step; at%5 == 4 && at/5 < len(big) {
			sendBig(t, redis, channel, big[at/5])
			want[brokers.ReasonTooLarge]++
			eventually(t, patience, "the big one is counted", func() bool {
				return sub.Stats().Malformed[brokers.ReasonTooLarge] == want[brokers.ReasonTooLarge]
			})
		}
		limit := int64(first + step)
		eventually(t, patience, "the good ones are "+
			"handled", func() bool { return good.count.Load() >= min(limit, int64(foreign)) })
	}
	eventually(t, patience, "every bad one is counted, and the hook has been told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return maps.Equal(sub.Stats().Malformed, want) && maps.Equal(told, want)
	})
	w.quiet()
	w.shut()

	s := sub.Stats()
	if s.Handled != int64(foreign) || s.Gaps != 0 {
		t.Errorf("%d of %d good events were handled, with %d gaps", s.Handled, foreign, s.Gaps)
	}
	good.nothingTwice(t)
	if !maps.Equal(s.Malformed, want) || !maps.Equal(told, want) {
		t.Errorf("counted %v, told to the hook %v, want %v", s.Malformed, told, want)
	}
	for _, n := range bodies {
		if n != 0 {
			t.Errorf("the hook was not given the bodies that were sent")
			break
		}
	}
	if n := w.Stats().Panics + s.Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
	figure(t, "malformed messages", "%d between %d good events, up to 16 MiB: every good one handled, each bad one "+
		"counted and handed to "+
		"the hook: %v", total(want), foreign, s.Malformed)
}

// sendBig publishes a message of some size that looks right, as far as anybody reads it.
func sendBig(t *testing.T, redis *testbroker.Redis, channel string, size int) {
	t.Helper()
	body := bytes.Repeat([]byte("x"), size)
	copy(body, `{"event_id":"`)
	if err := redis.Client().Publish(context.WithoutCancel(t.Context()), channel, body).Err(); err != nil {
		t.Fatal(err)
	}
}

func digest(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

func total[K comparable](m map[K]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}
