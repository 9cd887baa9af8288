package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var publishCases = []Case{
	{
		Name: "a body arrives byte for byte",
		Explanation: "A body is signed, encrypted and compared byte for byte by others: a driver that trims, re-encodes or " +
			"cuts it breaks them all. Bodies are tiny, binary and large here.",
		run: bodiesArriveUnchanged,
	},
	{
		Name: "each field arrives as it was published, or not at all",
		Explanation: "The bus reads what lies beside the body before it looks inside. A field that the broker does " +
			"not carry is empty, so that the bus reads the body; a wrong value would be believed.",
		run: fieldsArrive,
	},
	{
		Name:        "one batch reaches several channels",
		Explanation: "An event bound for three channels is three messages of one batch, among those of other events.",
		run:         oneBatchSeveralChannels,
	},
	{
		Name: "one event on three channels is three messages",
		Explanation: "They have one ID. A broker that drops what it takes for a duplicate must look at the channel too: " +
			"JetStream with the event's id as message id stored one of three.",
		run: oneEventThreeChannels,
	},
	{
		Name:        "an empty batch is no error",
		Explanation: "A caller need not ask first whether there is something to send.",
		run: func(w *world) {
			if err := w.open().Publish(w.ctx, nil); err != nil {
				w.Errorf("Publish of nothing: %v", err)
			}
		},
	},
	{
		Name: "thousands of messages arrive once each",
		Explanation: "Published = delivered: on a healthy broker with a sink that keeps up, nothing is lost and " +
			"nothing comes twice, over many batches of many sizes.",
		run: thousandsArriveOnce,
	},
	{
		Name: "the memory of a batch is the caller's again after Publish returned nil",
		Explanation: "The bus encodes the next batch into the same memory. A driver that keeps a reference " +
			"delivers the next batch's bytes under the last one's name.",
		run: callersMemoryIsFree,
	},
	{
		Name:        "many goroutines publish at once",
		Explanation: "A Conn is safe for concurrent use: two lanes send at the same time.",
		run:         concurrentPublishers,
	},
	{
		Name: "Publish with an ended context returns at once and marks every message",
		Explanation: "A caller that gave up must not wait, and must not be told that something was sent that was not: an " +
			"error without marks counts as taken.",
		run: endedContext,
	},
	{
		Name: "a message that is marked NotSent never arrives, and one that is not marked does",
		Explanation: "The bus resends NotSent, so one that arrived after all comes twice; it counts an unmarked one as " +
			"confirmed, so one that does not arrive is lost silently. Contexts end before, during and after Publish here.",
		run: outcomesAreTrue,
	},
}

func bodiesArriveUnchanged(w *world) {
	conn, ch := w.open(), w.h.Channel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	bodies := [][]byte{
		[]byte("{}"), []byte(" "), {0}, []byte("\r\n"), []byte("null"), every, slices.Repeat(every, 16),
		[]byte("\xff\xfe not UTF-8"), []byte("ends in a newline\n"), bodyOf(64 << 10), slices.Repeat(every, 4096),
	}
	var msgs []brokers.Message
	for _, b := range bodies {
		if limit := w.caps.MaxBytes; limit == 0 || len(b) <= limit {
			m := w.message(ch, "k")
			m.Body = b
			msgs = append(msgs, m)
		}
	}
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	w.publish(conn, msgs...)
	got := sub.waitCount("all bodies arrive", len(msgs))
	w.exactly(got, msgs)
	for _, a := range got {
		if a.Malformed != "" || a.Size != 0 {
			w.Errorf("a good body is delivered as malformed (%q, size %d): %s", a.Malformed, a.Size, show(a.Message))
		}
	}
}

func fieldsArrive(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	full := w.message(ch, "user:123")
	full.Priority = 3
	full.Time = time.Date(2026, 5, 6, 7, 8, 9, 123_000_000, time.UTC)
	full.Headers = []brokers.Header{
		{Key: "traceparent", Value: "00-abc-def-01"}, {Key: "x", Value: ""}, {Key: "x", Value: "2"},
	}
	bare := brokers.Message{Channel: ch, Body: []byte("bare")}
	w.publish(conn, full, bare)
	for _, a := range sub.waitFor("both messages arrive", full, bare) {
		want := full
		if same(a.Message, bare) {
			want = bare
		}
		w.fieldsOf(a.Delivery, want)
	}
}

// fieldsOf compares a delivery with what was published.
func (w *world) fieldsOf(d brokers.Delivery, want brokers.Message) {
	w.Helper()
	c := w.h.Carries
	field(w, "ID", c.ID, d.ID, want.ID)
	field(w, "Type", c.Type, d.Type, want.Type)
	field(w, "Key", c.Key, d.Key, want.Key)
	field(w, "Priority", c.Priority, d.Priority, want.Priority)
	if d.Channel != want.Channel {
		w.Errorf("Channel is %q, was %q", d.Channel, want.Channel)
	}
	if absent := d.Time.IsZero() && !c.Time; !absent && !d.Time.Equal(want.Time) {
		w.Errorf("Time is %v, was %v", d.Time, want.Time)
	}
	if absent := len(d.Headers) == 0 && !c.Headers; !absent && !slices.Equal(d.Headers, want.Headers) {
		w.Errorf("Headers are %q, were %q", d.Headers, want.Headers)
	}
}

func field[F comparable](w *world, name string, carried bool, got, want F) {
	w.Helper()
	var empty F
	if got == want || got == empty && !carried {
		return
	}
	w.Errorf("%s is %v, was %v (carried beside the body: %v)", name, got, want, carried)
}

func oneBatchSeveralChannels(w *world) {
	conn, chs := w.open(), w.channels(3)
	subs := make([]*subscriber, len(chs))
	for i, ch := range chs {
		subs[i] = w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	}
	var batch []brokers.Message
	byChannel := make([][]brokers.Message, len(chs))
	for i := range 60 {
		m := w.message(chs[i%len(chs)], fmt.Sprint("key-", i%7))
		batch = append(batch, m)
		byChannel[i%len(chs)] = append(byChannel[i%len(chs)], m)
	}
	w.publish(conn, batch...)
	for i, sub := range subs {
		w.exactly(sub.waitFor("all messages of channel "+fmt.Sprint(i)+" arrive", byChannel[i]...), byChannel[i])
	}
}

func oneEventThreeChannels(w *world) {
	conn, chs := w.open(), w.channels(3)
	sub := w.subscribe(conn, brokers.Subscription{Channels: chs})
	m := w.message(chs[0], "k")
	batch := []brokers.Message{m, m, m}
	for i := range batch {
		batch[i].Channel = chs[i]
	}
	w.publish(conn, batch...)
	w.exactly(sub.waitFor("all three arrive", batch...), batch)
}

func thousandsArriveOnce(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	all := w.messages(3000, ch)
	w.publishPaced(conn, sub, all)
	w.exactly(sub.waitFor("all messages arrive", all...), all)
}

// publishPaced publishes in batches of many sizes, and never more than 500 messages ahead of the sink: how many more a
// driver keeps for a slow one is another case's matter.
func (w *world) publishPaced(conn brokers.Conn, sub *subscriber, all []brokers.Message) {
	w.Helper()
	const ahead = 500
	size := 1
	for part := range slices.Chunk(all, ahead) {
		for rest := part; len(rest) > 0; size = size%97 + 7 {
			n := min(size, len(rest))
			w.publish(conn, rest[:n]...)
			rest = rest[n:]
		}
		sub.waitFor("what was published arrives", part...)
	}
}

func callersMemoryIsFree(w *world) {
	conn, ch := w.open(), w.h.Channel()
	var held []brokers.Delivery
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	batch := w.messages(50, ch)
	want := make([]brokers.Message, len(batch))
	for i := range batch {
		batch[i].Headers = []brokers.Header{{Key: "h", Value: "before"}}
		want[i] = batch[i]
		want[i].Body = bytes.Clone(batch[i].Body)
	}
	w.publish(conn, batch...)
	for i := range batch {
		for j := range batch[i].Body {
			batch[i].Body[j] = '!'
		}
		batch[i].Headers[0] = brokers.Header{Key: "h", Value: "after"}
		batch[i] = brokers.Message{Channel: "overwritten"}
	}
	got := sub.waitCount("all messages arrive", len(want))
	w.exactly(got, want)
	for _, a := range got {
		held = append(held, a.Delivery)
	}
	for _, d := range held {
		if len(d.Headers) > 0 && d.Headers[0].Value != "before" {
			w.Errorf("a header has the value %q that the caller wrote after Publish had returned", d.Headers[0].Value)
			return
		}
	}
}

func concurrentPublishers(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	const publishers, batches, size = 8, 10, 6 // together fewer than any driver keeps for a sink that is slow
	all := w.messages(publishers*batches*size, ch)
	ctx := w.within(w.h.Patience)
	errs := make(chan error, publishers*batches)
	var wg sync.WaitGroup
	for mine := range slices.Chunk(all, batches*size) {
		wg.Go(func() {
			for batch := range slices.Chunk(mine, size) {
				errs <- conn.Publish(ctx, batch)
			}
		})
	}
	_ = w.do("all Publish calls return", w.h.Patience, func() error { wg.Wait(); return nil })
	close(errs)
	for err := range errs {
		if err != nil {
			w.Fatalf("Publish on a healthy broker: %v", err)
		}
	}
	w.exactly(sub.waitFor("all messages arrive", all...), all)
}

func endedContext(w *world) {
	conn, ch := w.open(), w.h.Channel()
	w.publish(conn, w.message(ch, "warm-up"))
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	batch := w.messages(10, ch)
	err := w.do("Publish returns although its context had ended (the contract says within 100 ms)", w.promptly(), func() error {
		return conn.Publish(ctx, batch)
	})
	for i, o := range w.outcomes(len(batch), err) {
		if o != brokers.NotSent && o != brokers.Unknown {
			w.Errorf("message %d is %v although the context had ended before Publish began", i, o)
			return
		}
	}
	if !errors.Is(err, context.Canceled) {
		w.Errorf("errors.Is(err, context.Canceled) is false for %v", err)
	}
}

func outcomesAreTrue(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	var taken, notSent []brokers.Message
	const cut, whole = 60, 5
	for i := range cut + whole {
		batch := w.messages(20, ch)
		limit := time.Duration(i) * 20 * time.Microsecond
		if i >= cut {
			limit = w.h.Patience
		}
		ctx, cancel := context.WithCancel(w.ctx)
		stop := context.AfterFunc(w.within(limit), cancel)
		err := conn.Publish(ctx, batch)
		stop()
		cancel()
		for j, o := range w.outcomes(len(batch), err) {
			switch o {
			case brokers.Confirmed:
				taken = append(taken, batch[j])
			case brokers.NotSent, brokers.Rejected:
				notSent = append(notSent, batch[j])
			}
		}
	}
	fence := w.message(ch, "fence")
	w.publish(conn, fence)
	sub.wait("all messages that were not marked arrive", func() bool {
		return len(missing(sub.got, append(taken, fence))) == 0 || missed(sub.gaps) != 0
	})
	got := sub.arrivals()
	if lost := missing(got, taken); len(lost) > 0 && missed(sub.gapList()) == 0 {
		w.Errorf("%d messages were not marked and did not arrive", len(lost))
	}
	w.none(got, notSent, "it was marked as not sent")
}

// missed adds up what gaps have missed; -1 where nobody can know.
func missed(gaps []brokers.Gap) int64 {
	var n int64
	for _, g := range gaps {
		if g.Missed < 0 {
			return -1
		}
		n += g.Missed
	}
	return n
}

// promptly is the bound on what the contract wants within 100 ms, with room for a busy machine. In the short form, which is beside
// others, it is still below the five seconds for which a client holds a call that does not look at its context.
func (w *world) promptly() time.Duration {
	if inFull() {
		return 600 * time.Millisecond
	}
	return min(4*time.Second, w.h.Patience)
}
