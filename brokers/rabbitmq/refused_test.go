package rabbitmq_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A queue that is full and refuses more nacks: the publisher hears of it, and may send again, as others may have the message.
func TestWhatAQueueRefusesIsNotConfirmed(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	c := open(t, u)
	if err := c.Publish(t.Context(), numbered(0, 1, "full.a")); err != nil { // it makes the exchange
		t.Fatal(err)
	}
	manage(t, s, func(ch *amqp.Channel) error {
		full := amqp.Table{amqp.QueueMaxLenArg: 1, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish}
		q, err := ch.QueueDeclare(exchange+"-full", true, false, false, false, full)
		if err != nil {
			return err
		}
		return ch.QueueBind(q.Name, "full.a", exchange, false, nil)
	})
	const n = 10
	err := c.Publish(t.Context(), append(numbered(0, n, "full.a"), numbered(n, 1, "free.a")...))
	confirmed := 0
	for i := range n {
		switch o := outcomeOf(t, err, i); o {
		case brokers.Confirmed:
			confirmed++
		case brokers.Unknown:
		default:
			t.Errorf("message %d is %v, wants unknown: the server has refused it after it had it", i, o)
		}
	}
	if confirmed != 1 || !c.Retryable(err) || outcomeOf(t, err, n) != brokers.Confirmed {
		t.Errorf("%d of %d messages are confirmed, wants the one that there was room for, and its neighbour: %v", confirmed, n, err)
	}
}

// The queue in which a redelivery waits is deleted: nothing can be put into it, and nothing is acked that waits nowhere else.
func TestARedeliveryOutlivesTheQueueThatItWouldHaveWaitedIn(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	c := open(t, u)
	r := &failing{recorder: newRecorder(), after: 64 * time.Millisecond}
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"again.a"}})
	for i := range 2 {
		if err := c.Publish(t.Context(), numbered(i, 1, "again.a")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 0, "it comes twice", func() bool { return len(r.deliveries()) == 2*i+2 })
		manage(t, s, func(ch *amqp.Channel) error {
			for _, ms := range []string{"16", "64"} { // one of them, by how busy the machine is
				if _, err := ch.QueueDelete(exchange+":g:again.a:after:"+ms, false, false, false); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
