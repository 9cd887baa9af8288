package nats

import (
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A deliverer is the side of a subscription that waits for the sink, on the goroutine of Subscribe's caller.
type deliverer struct {
	queue    *queue
	sink     brokers.Sink
	late     <-chan struct{} // closed when nothing may be delivered any more
	maxBytes int

	batch []brokers.Delivery
	bytes int
	left  int64 // messages that came too late to be delivered
}

// run hands over what the queue has, in order, until it is closed and empty.
func (d *deliverer) run() {
	for {
		entries, ok := d.queue.take()
		if !ok {
			break
		}
		for i := range entries {
			d.add(&entries[i])
		}
		d.flush()
		clear(entries)
	}
	if d.left > 0 {
		now := time.Now()
		d.sink.Gap(brokers.Gap{Since: now, Until: now, Reason: brokers.GapOverflow, Missed: d.left})
	}
}

func (d *deliverer) add(e *entry) {
	if e.mark != nil {
		d.flush()
		if e.mark.ready {
			d.sink.Ready()
		} else {
			d.sink.Gap(e.mark.gap)
		}
		return
	}
	d.batch = append(d.batch, brokers.Delivery{})
	read(&d.batch[len(d.batch)-1], e.msg, d.maxBytes)
	d.bytes += len(e.msg.Data)
	if len(d.batch) == deliverAtOnce {
		d.flush()
	}
}

// read sets what a message of the client says of a delivery. A body over maxBytes is copied in part, so that the whole of
// it is not held.
func read(d *brokers.Delivery, m *natsgo.Msg, maxBytes int) {
	d.Channel, d.Body = m.Subject, m.Data
	readFields(&d.Message, m.Header)
	if n := len(m.Data); maxBytes > 0 && n > maxBytes {
		d.Body = append([]byte(nil), m.Data[:min(tooLargeKept, maxBytes)]...)
		d.Malformed, d.Size = brokers.ReasonTooLarge, n
	}
}

// flush hands over the batch.
func (d *deliverer) flush() {
	n := len(d.batch)
	if n == 0 {
		return
	}
	select {
	case <-d.late:
		d.left += int64(n)
	default:
		d.sink.Deliver(d.batch)
	}
	d.queue.release(n, d.bytes)
	clear(d.batch)
	d.batch, d.bytes = d.batch[:0], 0
}
