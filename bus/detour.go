package bus

import (
	"context"
	"errors"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A detour carries the messages of a lane whose rules name a fallback: to the first broker, or to the fallback while the
// first one is unavailable. It belongs to one sender, which has one batch under way at a time and hands it over again until
// each of its messages has its outcome. So the messages of a key are sent in their order across the switch and back.
//
// A message that one broker may have is sent over the other only where the one is durable: its subscribers have to know a
// second copy by its event id anyway. Elsewhere it is dropped as unconfirmed by the sender, as it is without a fallback.
type detour struct {
	brokers.Conn // the first broker's
	first        *link
	fallback     *link

	durable  bool // the broker of the last call is
	fellBack bool // the last call went to the fallback

	// doubtful are the messages of the batch that a durable broker may have: whether that is the fallback.
	doubtful map[doubt]bool
}

type doubt struct{ id, channel string }

// Publish implements brokers.Conn for a sender: each call goes to one of the two brokers.
func (d *detour) Publish(ctx context.Context, msgs []brokers.Message) error {
	up, trial := d.first.avail.state()
	d.fellBack = !up
	d.noteTwice(msgs)
	if d.fellBack {
		d.durable = d.fallback.caps.Durable
		err := d.fallback.Publish(ctx, msgs)
		d.noteDoubts(msgs, err)
		return err
	}
	d.durable = d.first.caps.Durable
	began := time.Now()
	err := d.try(ctx, msgs, trial)
	d.noteDoubts(msgs, err)
	if answered(len(msgs), err) {
		d.first.avail.answered()
	} else {
		d.first.avail.failed(began, err)
	}
	return err
}

// try sends to the first broker; where that is on trial a single message, and the others once that one was answered.
func (d *detour) try(ctx context.Context, msgs []brokers.Message, trial bool) error {
	if !trial || len(msgs) < 2 {
		return d.first.Publish(ctx, msgs)
	}
	err := d.first.Publish(ctx, msgs[:1])
	if answered(1, err) {
		return shifted(err, d.first.Publish(ctx, msgs[1:]), len(msgs)-1)
	}
	rest := brokers.FailAll(len(msgs)-1, brokers.NotSent, err)
	return shifted(err, rest, len(msgs)-1)
}

// shifted joins the errors of a first message and of n that follow it.
func shifted(first, rest error, n int) error {
	if first == nil && rest == nil {
		return nil
	}
	joined := &brokers.BatchError{}
	if first != nil {
		joined.Failed = append(joined.Failed, batchError(1, first).Failed...)
	}
	if rest != nil {
		for _, f := range batchError(n, rest).Failed {
			f.Index++
			joined.Failed = append(joined.Failed, f)
		}
	}
	return joined
}

// batchError is err as the driver contract has it: one that is none says that nothing is known.
func batchError(n int, err error) *brokers.BatchError {
	if be := new(brokers.BatchError); errors.As(err, &be) {
		return be
	}
	return brokers.FailAll(n, brokers.Unknown, err)
}

// answered reports whether the broker took or refused any of n messages.
func answered(n int, err error) bool {
	if err == nil {
		return true
	}
	be := batchError(n, err)
	for _, f := range be.Failed {
		if f.Outcome == brokers.Rejected {
			return true
		}
	}
	return len(be.Failed) < n
}

// noteDoubts remembers what the broker of this call may have.
func (d *detour) noteDoubts(msgs []brokers.Message, err error) {
	if err == nil || !d.durable {
		return
	}
	for _, f := range batchError(len(msgs), err).Failed {
		if f.Outcome == brokers.Unknown && f.Index >= 0 && f.Index < len(msgs) {
			if d.doubtful == nil {
				d.doubtful = make(map[doubt]bool)
			}
			m := &msgs[f.Index]
			d.doubtful[doubt{m.ID, m.Channel}] = d.fellBack
		}
	}
}

// noteTwice counts the messages that this call sends although the other broker may have them, each of them once.
func (d *detour) noteTwice(msgs []brokers.Message) {
	if len(d.doubtful) == 0 {
		return
	}
	twice, known := 0, false
	for i := range msgs {
		key := doubt{msgs[i].ID, msgs[i].Channel}
		where, doubtful := d.doubtful[key]
		known = known || doubtful
		if doubtful && where != d.fellBack {
			d.doubtful[key] = d.fellBack
			twice++
		}
	}
	if !known {
		d.doubtful = nil // of a batch that is settled
	}
	if twice > 0 {
		d.first.avail.sentTwice(twice)
	}
}

// Retryable reports whether waiting may cure err: of the first broker's errors, the switch to the fallback does.
func (d *detour) Retryable(err error) bool {
	return !d.fellBack || d.fallback.Retryable(err)
}
