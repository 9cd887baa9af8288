package overflow

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// atOnce is how many messages one call of Deliver has at most.
const atOnce = 512

// Feed hands over what the queue has, in order, until it is closed and empty; read makes a delivery of a message. Once late is closed
// nothing is delivered any more: what is left is a gap with its count. It is called once.
func (q *Queue[M]) Feed(sink brokers.Sink, late <-chan struct{}, read func(*brokers.Delivery, M)) {
	f := feeder[M]{queue: q, sink: sink, late: late, read: read}
	for {
		entries, ok := q.take()
		if !ok {
			break
		}
		for i := range entries {
			f.add(&entries[i])
		}
		f.flush()
		clear(entries)
	}
	if f.left > 0 {
		now := time.Now()
		sink.Gap(brokers.Gap{Since: now, Until: now, Reason: brokers.GapOverflow, Missed: f.left})
	}
}

// A feeder is one call of Feed.
type feeder[M any] struct {
	queue *Queue[M]
	sink  brokers.Sink
	late  <-chan struct{}
	read  func(*brokers.Delivery, M)

	batch []brokers.Delivery
	bytes int
	left  int64 // messages that came too late to be delivered
}

func (f *feeder[M]) add(e *entry[M]) {
	if e.mark != nil {
		f.flush()
		if e.mark.ready {
			f.sink.Ready()
		} else {
			f.sink.Gap(e.mark.gap)
		}
		return
	}
	f.batch = append(f.batch, brokers.Delivery{})
	f.read(&f.batch[len(f.batch)-1], e.msg)
	f.bytes += f.queue.size(e.msg)
	if len(f.batch) == atOnce {
		f.flush()
	}
}

// flush hands over the batch.
func (f *feeder[M]) flush() {
	n := len(f.batch)
	if n == 0 {
		return
	}
	select {
	case <-f.late:
		f.left += int64(n)
	default:
		f.sink.Deliver(f.batch)
	}
	f.queue.release(n, f.bytes)
	clear(f.batch)
	f.batch, f.bytes = f.batch[:0], 0
}
