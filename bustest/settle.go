package bustest

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// restart is how long after a crash the broker delivers again. Virtual time passes only when all else is done, so that what comes
// again comes behind that, in every run.
const restart = time.Second

// A settler settles one subscription's deliveries with the broker in memory, as the script wants it.
type settler struct{ b *Broker }

// A handed delivery is what a token of a settler refers to. The second one of a duplicate has no settler of its own: nothing comes
// of how it is settled.
type handed struct {
	msg     brokers.Message
	token   brokers.Token
	settler brokers.Settler
}

// wrap makes a delivery be settled by the script.
func (f *feed) wrap(d brokers.Delivery) brokers.Delivery {
	d.Token = brokers.Token{Ref: &handed{d.Message, d.Token, d.Settler}}
	d.Settler = settler{f.b}
	return d
}

// Settle implements [brokers.Settler].
func (s settler) Settle(ctx context.Context, list []brokers.Settlement) error {
	away := s.b.awayFor()
	var failed error
	for _, what := range list {
		h := what.Token.Ref.(*handed)
		if h.settler == nil {
			continue
		}
		what.Token = h.token
		switch {
		case away > 0:
			failed = ErrAway
			what.Verdict, what.After = brokers.Redeliver, away
		case what.Verdict == brokers.Ack && s.b.crashes(&h.msg):
			what.Verdict, what.After = brokers.Redeliver, restart
		}
		if err := h.settler.Settle(ctx, []brokers.Settlement{what}); err != nil {
			failed = err
		}
	}
	return failed
}

// giveBack returns a delivery that was not handed over.
func (f *feed) giveBack(d brokers.Delivery) {
	back := []brokers.Settlement{{Token: d.Token, Verdict: brokers.Redeliver}}
	_ = d.Settler.Settle(context.WithoutCancel(f.ctx), back) // in memory it fails only where it was given back before
}
