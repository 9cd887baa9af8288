package rabbitmq

import (
	"context"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A pipe is the one channel of a session that publishes, in confirm mode. There is one, because the server keeps the order of
// what comes over one channel; calls take turns in writing, and wait for their confirms side by side.
type pipe struct {
	session *session
	ch      *amqp.Channel
	turn    chan struct{} // holds an element while somebody writes
	over    chan struct{} // closed once the channel has
	err     error         // why; valid once over is closed

	unroutable *atomic.Int64
	exchange   string
	confirmed  atomic.Bool // something was

	mu      sync.Mutex
	waiting map[parcelKey][]*parcel // those that have to know whether they were returned
	sync    chan chan struct{}
}

// A parcel is a message for the client, and what became of it.
type parcel struct {
	exchange, key string
	must          bool // it is an error where no queue takes it
	msg           amqp.Publishing
	err           error // it can never be sent
	confirm       *amqp.DeferredConfirmation
	returned      bool // guarded by the pipe's mu
}

// A parcelKey is what a message that was returned can be recognised by.
type parcelKey struct{ exchange, key, id string }

func (p *parcel) keyOf() parcelKey { return parcelKey{p.exchange, p.key, p.msg.MessageId} }

// openPipe makes a session one that publishes.
func openPipe(s *session, set *settings, unroutable *atomic.Int64) (*pipe, error) {
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := set.declareExchange(ch); err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	p := &pipe{
		session: s, ch: ch, turn: make(chan struct{}, 1), over: make(chan struct{}), unroutable: unroutable,
		exchange: set.exchange, waiting: make(map[parcelKey][]*parcel), sync: make(chan chan struct{}),
	}
	returns, closed := ch.NotifyReturn(make(chan amqp.Return, 256)), ch.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		p.watch(returns, closed)
		for range returns { // until the client closes it: it waits for nobody to read what it returns
		}
	}()
	return p, nil
}

// watch reads what the server returns, without ever waiting: the client reads nothing else meanwhile. It ends with the
// channel, and the session with it: a new one makes what is missing, such as an exchange that was deleted.
func (p *pipe) watch(returns <-chan amqp.Return, closed <-chan *amqp.Error) {
	p.err = brokers.Contain(func() error { return p.hear(returns, closed) })
	close(p.over)
	p.session.wire.abort()
}

// hear is watch until the channel ends, and returns why it did.
func (p *pipe) hear(returns <-chan amqp.Return, closed <-chan *amqp.Error) error {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			p.back(&r)
		case done := <-p.sync:
			p.allBack(returns)
			close(done)
		case err := <-closed:
			p.allBack(returns) // suppose one was left: a message that nobody wanted would count as one that was taken
			if err != nil {
				return err
			}
			return errSessionOver
		}
	}
}

// allBack notes what was returned by now.
func (p *pipe) allBack(returns <-chan amqp.Return) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			p.back(&r)
		default:
			return
		}
	}
}

// back notes that a message was returned. Those of one key are returned in the order in which they were sent.
func (p *pipe) back(r *amqp.Return) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Exchange == p.exchange {
		p.unroutable.Add(1)
	}
	key := parcelKey{r.Exchange, r.RoutingKey, r.MessageId}
	if list := p.waiting[key]; len(list) > 0 {
		list[0].returned = true
		p.forgetLocked(key, list[0])
	}
}

// expect notes that a parcel has to know whether it was returned.
func (p *pipe) expect(one *parcel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := one.keyOf()
	p.waiting[key] = append(p.waiting[key], one)
}

// forget ends expect.
func (p *pipe) forget(one *parcel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(one.keyOf(), one)
}

func (p *pipe) forgetLocked(key parcelKey, one *parcel) {
	list := p.waiting[key]
	for i, other := range list {
		if other == one {
			if list = append(list[:i:i], list[i+1:]...); len(list) == 0 {
				delete(p.waiting, key)
			} else {
				p.waiting[key] = list
			}
			return
		}
	}
}

// wasReturned reports whether a parcel was. A message is returned before it is confirmed, but to another goroutine: settled
// has to be called in between.
func (p *pipe) wasReturned(one *parcel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return one.returned
}

// settled waits until everything that was returned before now is noted.
func (p *pipe) settled() {
	done := make(chan struct{})
	select {
	case p.sync <- done:
		select {
		case <-done:
		case <-p.over:
		}
	case <-p.over:
	}
}

// take waits for the right to write.
func (p *pipe) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.turn <- struct{}{}:
	case <-p.over:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.session.open(ctx); err != nil {
		<-p.turn
		return err
	}
	return nil
}

// write gives parcels to the client, from the one that has the turn.
func (p *pipe) write(list []parcel) error {
	p.session.wire.cork()
	defer p.session.wire.uncork()
	for i := range list {
		one := &list[i]
		if one.err != nil {
			continue
		}
		if one.must {
			p.expect(one)
		}
		var err error
		one.confirm, err = p.ch.PublishWithDeferredConfirm(one.exchange, one.key, true, false, one.msg)
		one.msg.Body = nil
		if err != nil {
			return err
		}
	}
	return nil
}
