package rabbitmq

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// Suppose the connection ends right after the server has returned what no queue wants: what was returned is known by then, whichever
// the pipe sees first.
func TestWhatWasReturnedBeforeTheEndIsKnown(t *testing.T) {
	for range 200 {
		p := &pipe{
			session: &session{wire: &wire{Conn: closable{}}}, over: make(chan struct{}), unroutable: new(atomic.Int64),
			exchange: "e", waiting: make(map[parcelKey][]*parcel), sync: make(chan chan struct{}),
		}
		list := make([]parcel, 5)
		returns, closed := make(chan amqp.Return, len(list)), make(chan *amqp.Error, 1)
		for i := range list {
			list[i] = parcel{exchange: "e", key: "a", msg: amqp.Publishing{MessageId: strconv.Itoa(i)}}
			p.expect(&list[i])
			returns <- amqp.Return{Exchange: "e", RoutingKey: "a", MessageId: strconv.Itoa(i)}
		}
		closed <- &amqp.Error{Code: amqp.ConnectionForced}
		p.watch(returns, closed)
		for i := range list {
			if p.settled(); !p.wasReturned(&list[i]) {
				t.Fatalf("message %d is not known to have been returned", i)
			}
		}
	}
}

// closable is a connection that can be closed.
type closable struct{ net.Conn }

func (closable) Close() error { return nil }

// Suppose Publish gives up at the very moment when the client has written everything: what is known then is said.
func TestAPublicationThatWasWrittenIsNotAbandoned(t *testing.T) {
	p := &publication{
		ctx: t.Context(), pipe: &pipe{}, parcels: []parcel{{err: bodyTooLong{2, 1}}, {err: bodyTooLong{3, 1}}}, sent: 2,
	}
	p.begun.Store(2 | writtenBit)
	var batch *brokers.BatchError
	if err := p.abandon(context.Canceled); !errors.As(err, &batch) || len(batch.Failed) != 2 || batch.Failed[0].Outcome != brokers.Rejected {
		t.Errorf("%+v", err)
	}
	p = &publication{parcels: make([]parcel, 2)}
	p.begun.Store(1)
	if err := p.abandon(context.Canceled); !errors.As(err, &batch) || batch.Failed[0].Outcome != brokers.Unknown || batch.Failed[1].Outcome != brokers.NotSent {
		t.Errorf("%+v", err)
	}
}
