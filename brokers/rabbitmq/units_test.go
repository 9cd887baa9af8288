package rabbitmq

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

func patterns(t *testing.T, list ...string) []brokers.Pattern {
	t.Helper()
	out, err := readPatterns("s", list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEachPatternHasAQueueAndThoseThatOverlapShareOne(t *testing.T) {
	set := defaults(plainScheme)
	for _, tt := range []struct {
		group    string
		channels []string
		queues   []string
	}{
		{"mail", []string{"a.b"}, []string{"eventbus:mail:a.b"}},
		{"mail", []string{"a.b", "c.d"}, []string{"eventbus:mail:a.b", "eventbus:mail:c.d"}},
		{"mail", []string{"a.>", "a.b"}, []string{"eventbus:mail:a.>"}},
		{"mail", []string{"o.a.*", "x", "o.*.x"}, []string{"eventbus:mail:x", "eventbus:mail:o.*.x,o.a.*"}},
	} {
		var got []string
		for _, p := range set.places(tt.group, patterns(t, tt.channels...)) {
			got = append(got, p.name)
		}
		if !slices.Equal(got, tt.queues) {
			t.Errorf("%q of %s: %q, want %q", tt.channels, tt.group, got, tt.queues)
		}
	}
}

func TestQueuesOfDifferentGroupsHaveDifferentNamesThatFit(t *testing.T) {
	set := defaults(plainScheme)
	long := patterns(t, strings.Repeat("a", 200))
	seen := make(map[string]string)
	for _, group := range []string{"a", "a:b", "a_b", "a b", "ä", strings.Repeat("g", 300), strings.Repeat("g", 300) + "h"} {
		for _, p := range [][]brokers.Pattern{long, patterns(t, "b.c")} {
			name := set.queueName(group, p)
			if other, taken := seen[name]; taken {
				t.Errorf("groups %q and %q share the queue %q", group, other, name)
			}
			seen[name] = group
			if n := len(delayQueue(name, levelMax)); n > 255 {
				t.Errorf("a name has %d bytes, at most 255 fit", n)
			}
		}
	}
}

func TestAWaitIsNeverTooShortAndAtMostAnEighthTooLong(t *testing.T) {
	for _, d := range []time.Duration{
		1, time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second, 30 * time.Second, time.Hour,
		26 * time.Hour, 30 * 24 * time.Hour,
	} {
		now := time.Unix(1_800_000_000, 0)
		from, by := waiting(now, now.Add(d))
		hops, at := 0, now
		for ; at.UnixNano() < from; hops++ {
			left := time.Duration(from - at.UnixNano())
			l := level(left, time.Duration(by-at.UnixNano()))
			if l < levelMin || l > levelMax || l > left && l > levelMin && at.Add(l).UnixNano() > by {
				t.Fatalf("%v: the wait %v with %v left", d, l, left)
			}
			at = at.Add(l)
		}
		if late := at.Sub(now) - d; late > d/8 && late > levelMin {
			t.Errorf("%v: %v late", d, late)
		}
		if hops > 60 {
			t.Errorf("%v takes %d waits", d, hops)
		}
	}
}

func TestWhatIsDueInCenturiesWaits(t *testing.T) {
	now := time.Now()
	century := 100 * 365 * 24 * time.Hour
	for name, at := range map[string]time.Time{
		"the last year of nanoseconds": time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC),
		"the year after":               time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC),
		"the year 2300":                time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		"the year 9999":                time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		"the longest After":            now.Add(math.MaxInt64),
	} {
		p, err := write(&brokers.Message{Channel: "a", NotBefore: at}, now)
		if err != nil {
			t.Fatal(err)
		}
		due, by := dueAt(p.Headers, now)
		if wait := due.Sub(now); wait < 2*century || by < now.Add(wait).UnixNano() {
			t.Errorf("%s: it waits for %v, and is late after %v", name, wait, time.Unix(0, by))
		}
	}
	again := redelivery(&held{}, math.MaxInt64)
	if from, by := time.Duration(again.from-now.UnixNano()), time.Duration(again.by-now.UnixNano()); from < 2*century ||
		by < from || level(from, by) != levelMax {
		t.Errorf("a redelivery waits for %v, and is late after %v", from, by)
	}
}

func TestManyAreAckedAtOnceAndNoneThatIsNotSettled(t *testing.T) {
	var tr tracker
	tr.init()
	for _, tt := range []struct {
		tags   []uint64
		upTo   uint64
		single []uint64
	}{
		{[]uint64{2, 3}, 0, []uint64{2, 3}},
		{[]uint64{1}, 1, nil}, // 3 is settled, too, and must not be acked again
		{[]uint64{6, 4}, 4, []uint64{6}},
		{[]uint64{5, 8, 7}, 8, nil},
	} {
		upTo, single := tr.settle(tt.tags)
		if upTo != tt.upTo || !slices.Equal(single, tt.single) {
			t.Errorf("%v: up to %d and %v, want up to %d and %v", tt.tags, upTo, single, tt.upTo, tt.single)
		}
	}
}

func TestHeadersKeepTheirOrderAndCannotSteerTheServer(t *testing.T) {
	headers := []brokers.Header{
		{Key: "b", Value: "1"}, {Key: "a", Value: ""}, {Key: "b", Value: "2"}, {Key: "CC", Value: "queue"},
		{Key: "x-delay", Value: "3"}, {Key: "eb-channel", Value: "other"}, {Key: "BCC", Value: "queue"},
	}
	m := brokers.Message{ID: strings.Repeat("i", 300), Type: strings.Repeat("t", 300), Priority: -3, Headers: headers}
	p, err := write(&m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CC", "BCC", "x-delay", headerChannel} {
		if p.Headers[name] != nil {
			t.Errorf("the header %s reaches the server", name)
		}
	}
	var d brokers.Delivery
	read(&d, &amqp.Delivery{Headers: p.Headers, MessageId: p.MessageId, Type: p.Type}, 0)
	if d.ID != m.ID || d.Type != m.Type || d.Priority != -3 || !slices.Equal(d.Headers, headers) {
		t.Errorf("%+v", d.Message)
	}
}

func TestFieldsThatDoNotFitIntoAFrameAreRefused(t *testing.T) {
	m := brokers.Message{Channel: "a"}
	for range 10_000 {
		m.Headers = append(m.Headers, brokers.Header{Key: "some-header", Value: "value"})
	}
	var e headersTooLong
	if _, err := write(&m, time.Now()); !errors.As(err, &e) || retryable(err) {
		t.Errorf("%v", err)
	}
}

// A longer name makes the client end its connection, and the message would be sent again on the next one, for ever.
func TestTheLongestKeyFitsBehindAPrefixAndALongerOneIsRefused(t *testing.T) {
	set := defaults(plainScheme)
	for _, begin := range append([]string{"k"}, reservedPrefixes...) {
		key := begin + strings.Repeat("k", brokers.MaxHeaderKey-len(begin))
		p, err := write(&brokers.Message{Channel: "a", Headers: []brokers.Header{{Key: key, Value: "v"}}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for name := range p.Headers {
			if len(name) > maxShort {
				t.Errorf("a key that begins with %q becomes a name of %d bytes, at most %d fit", begin, len(name), maxShort)
			}
		}
		long := brokers.Message{Channel: "a", Headers: []brokers.Header{{Key: key + "k", Value: "v"}}}
		one := publication{set: &set, msgs: []brokers.Message{long}, parcels: make([]parcel, 1), now: time.Now()}
		if err := one.fromMessage(0); err == nil || retryable(err) {
			t.Errorf("a key of %d bytes: %v", len(key)+1, err)
		}
	}
}

func TestForeignHeadersAreReadWithoutTrust(t *testing.T) {
	var d brokers.Delivery
	read(&d, &amqp.Delivery{Priority: 255, Headers: amqp.Table{
		headerKey: int32(3), headerPriority: "x", headerTime: "y", "n": int64(1), "t": amqp.Table{}, "l": []any{"a", int32(1)},
	}}, 0)
	if d.Key != "" || d.Priority != 0 || !d.Time.IsZero() || !slices.Equal(d.Headers, []brokers.Header{{Key: "l", Value: "a"}}) {
		t.Errorf("%+v", d.Message)
	}
	if n := attemptOf(&amqp.Delivery{Headers: amqp.Table{"x-delivery-count": "3"}}, quorum); n != 1 {
		t.Errorf("attempt %d", n)
	}
}

func TestAMessageDoesNotWaitLongerBecauseAClockWasSetBack(t *testing.T) {
	now := time.Now()
	const left, late = time.Minute, 10 * time.Second
	for name, tt := range map[string]struct {
		clock time.Duration // how far ours is ahead of where it was when the message was put into a queue
		left  any
		want  time.Duration
	}{
		"all is well":                     {0, int64(left), left},
		"a little behind":                 {-time.Second, int64(left), left + time.Second},
		"set back":                        {-time.Hour, int64(left), left},
		"set back, in the last of queues": {-time.Hour - left, int64(0), 0},
		"set back, and published so":      {-time.Hour, nil, left + time.Hour},
	} {
		from := now.Add(left - tt.clock).UnixNano()
		headers := amqp.Table{headerFrom: from, headerBy: from + int64(late)}
		if tt.left != nil {
			headers[headerLeft] = tt.left
		}
		due, by := dueAt(headers, now)
		if got := due.Sub(now); got != tt.want || time.Duration(by-now.UnixNano()) != tt.want+late {
			t.Errorf("%s: it waits for %v, until %v at most; wants %v", name, got, time.Duration(by-now.UnixNano()), tt.want)
		}
	}
	for name, headers := range map[string]amqp.Table{
		"it does not say when":       {},
		"it was held up for an hour": {headerFrom: now.Add(left - time.Hour).UnixNano(), headerLeft: int64(left)},
		"it makes no sense":          {headerFrom: int64(math.MinInt64)},
	} {
		if due, _ := dueAt(headers, now); due.After(now) {
			t.Errorf("%s: it waits", name)
		}
	}
}
