package rabbitmq

import (
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A message that has to wait is published to a queue whose messages expire after a while and come back, through the default
// exchange, to the one queue that they are for. A queue expires its messages from its head on, so that all of one queue wait
// equally long: there is one for each level, made when it is first needed. What waits longer than a level, and less than the
// next one, waits several times.
const (
	levelMin = 16 * time.Millisecond
	levelMax = levelMin << (2 * 11) // 18.6 h
	// redeliverMin is the least delay before a redelivery, whatever is asked for: without any, an event that always fails
	// would be tried thousands of times a second.
	redeliverMin = 50 * time.Millisecond
)

// waiting returns when a message may be delivered that is to wait from now until at, and how late is no matter: by an eighth
// of its delay. What is too far away for nanoseconds waits until the last instant that they can say.
func waiting(now, at time.Time) (from, by int64) {
	return brokers.UnixNano(at), brokers.UnixNano(at.Add(at.Sub(now) / 8))
}

// jumpMin is how much longer than the last wait has left a message would have to wait for our clock to have been set back, or to
// be behind.
const jumpMin = 5 * time.Second

// dueAt returns until when a message has to wait, by our own clock, and how late is no matter.
//
// Until when is a time of day, so that a message that comes late, because the server was down, does not wait once more. Suppose
// the clock of this machine is set back by an hour while the message waits: it would go back to wait for an hour. So it waits no longer
// than was left when it was put into the queue that it comes from. What is returned is monotonic.
func dueAt(headers amqp.Table, now time.Time) (due time.Time, by int64) {
	from, by := number(headers, headerFrom), number(headers, headerBy)
	if from <= now.UnixNano() {
		return now, by
	}
	wait := time.Duration(from - now.UnixNano())
	if _, ok := headers[headerLeft]; ok {
		if left := time.Duration(number(headers, headerLeft)); wait > left+jumpMin {
			by -= int64(wait - left)
			wait = left
		}
	}
	return now.Add(wait), by
}

// level returns how long a message waits next, that may be delivered after from and is late after by. It is never less than
// it has to be in the last wait, and never more in those before.
func level(from, by time.Duration) time.Duration {
	l := levelMin
	for l < from && l < levelMax {
		l *= 4
	}
	if l == levelMin || l <= by || l < from {
		return l
	}
	return l / 4
}

// delayQueue is what the queue is called in which the messages for another one wait.
func delayQueue(name string, wait time.Duration) string {
	return fmt.Sprintf("%s:after:%d", name, wait.Milliseconds())
}

// declareDelay makes the queue of a level. That of a replicated queue is replicated, too, and lets go of a message only once the
// other one has it.
func (s *settings) declareDelay(ch *amqp.Channel, p place, wait time.Duration) error {
	args := amqp.Table{
		amqp.QueueTypeArg:        s.kind(p),
		amqp.QueueMessageTTLArg:  wait.Milliseconds(),
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": p.name,
	}
	if s.kind(p) == quorum {
		args["x-dead-letter-strategy"], args[amqp.QueueOverflowArg] = "at-least-once", amqp.QueueOverflowRejectPublish
	}
	own := p.group == ""
	name := delayQueue(p.name, wait)
	_, err := ch.QueueDeclare(name, !own, false, own, false, args)
	return setup(fmt.Sprintf("queue %q", name), err)
}
