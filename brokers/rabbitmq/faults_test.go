package rabbitmq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// While an alarm lasts the server takes no messages, and still takes acks.
func TestAServerThatTakesNoMessagesSlowsNobodyAndTakesAcks(t *testing.T) {
	s := server(t)
	u, _ := fresh(t, s)
	c := open(t, u)
	r := newRecorder()
	r.SettleNothing()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"alarm.a"}, Prefetch: 1})
	giveUp(t, c)
	if err := c.Publish(t.Context(), numbered(0, 1, "alarm.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it arrives", func() bool { return r.has("body-0") })
	t.Cleanup(func() {
		if t.Failed() { // others use the server, too
			alarm(t, context.Background(), s, "0.8")
		}
	})
	alarm(t, t.Context(), s, "0.0000001")
	n := 100
	eventually(t, 30*time.Second, "the server says that it takes none", func() bool { // with the first that it is sent
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		n++
		err := c.Publish(ctx, numbered(n, 1, "alarm.b")) // which nobody reads
		return err != nil && strings.Contains(err.Error(), "connection.blocked")
	})
	began := time.Now()
	var last error
	for i := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		last = c.Publish(ctx, numbered(10+i, 3, "alarm.a"))
		cancel()
		if last == nil {
			t.Fatal("a message is confirmed although the alarm is on")
		}
	}
	if took := time.Since(began); took > 4*(200*time.Millisecond+8*time.Second) {
		t.Errorf("four calls of 200 ms took %v", took)
	}
	for i := range 3 {
		if o := outcomeOf(t, last, i); o != brokers.NotSent || !c.Retryable(last) {
			t.Errorf("message %d is %v, want not sent: the server said that it takes none (%v)", i, o, last)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := r.deliveries()[0]
	if err := d.Settler.Settle(ctx, []brokers.Settlement{{Token: d.Token}}); err != nil {
		t.Errorf("Settle: %v", err)
	}
	if err := c.(brokers.Pinger).Ping(ctx); err == nil {
		t.Error("Ping says that all is well")
	}
	alarm(t, t.Context(), s, "0.8")
	other := numbered(20, 1, "alarm.b") // which nobody holds
	eventually(t, 10*time.Second, "messages are taken again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return c.Publish(ctx, other) == nil
	})
}

// giveUp closes a connection when the test has ended, whatever is not settled.
func giveUp(t *testing.T, c brokers.Conn) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = c.Close(ctx)
	})
}

// alarm sets the share of the memory from which on the server takes no messages.
func alarm(t *testing.T, ctx context.Context, s *testbroker.RabbitMQ, share string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.Control(ctx, "set_vm_memory_high_watermark", share); err != nil {
		t.Error(err)
	}
}

func TestWhatSomebodyPutsIntoTheQueueItselfIsReportedAndSettled(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	c := open(t, u)
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"direct.>"}})
	for i := range 10 {
		if err := inject(s, exchange, "direct.a", fmt.Appendf(nil, "foreign-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	manage(t, s, func(ch *amqp.Channel) error {
		return ch.Publish("", exchange+":g:direct.>", false, false, amqp.Publishing{
			Body: []byte("straight"), Headers: amqp.Table{"eb-tried": "x", "x-delivery-count": "y"},
		})
	})
	if err := c.Publish(t.Context(), numbered(0, 1, "direct.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 12 })
	for _, d := range r.deliveries() {
		if marked := d.Malformed == brokers.ReasonForeign; marked != (string(d.Body) == "straight") || d.Channel == "" {
			t.Errorf("%q on %q is marked %q", d.Body, d.Channel, d.Malformed)
		}
	}
}

// A copy that waits would be sent to the queues that its headers name, and refused for a user that is not ours.
func TestARedeliveryIsSentToNobodyElse(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, exchange := fresh(t, s)
	c := open(t, u)
	other := newRecorder()
	subscribe(t, c, other, brokers.Subscription{Name: "other", Group: "other", Channels: []string{"again.a"}})
	r := &failing{recorder: newRecorder(), after: 50 * time.Millisecond}
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"again.a"}})
	const before = 3 // the first one makes the queues to wait in, and waits here
	for i := range before {
		if err := c.Publish(t.Context(), numbered(i, 1, "again.a")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "it comes twice", func() bool { return len(r.deliveries()) == 2*i+2 })
	}
	manage(t, s, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare("elsewhere", false, true, false, false, nil); err != nil {
			return err
		}
		return ch.Publish(exchange, "again.a", false, false, amqp.Publishing{
			MessageId: "1", UserId: "guest", Body: []byte("body"), Headers: amqp.Table{"CC": []any{"elsewhere"}},
		})
	})
	eventually(t, 10*time.Second, "it comes twice", func() bool { return len(r.deliveries()) == 2*before+2 })
	if d := r.deliveries()[2*before+1]; d.Attempt != 2 || d.Channel != "again.a" || d.ID != "1" {
		t.Errorf("%+v", d)
	}
	manage(t, s, func(ch *amqp.Channel) error {
		if n, err := ch.QueueDelete("elsewhere", false, false, false); n > 0 || err != nil {
			t.Errorf("%d copies went to the queue that a foreign client has named (%v)", n, err)
		}
		return nil
	})
	if err := c.Publish(t.Context(), numbered(before, 1, "again.a")); err != nil { // behind what else the other group would get
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the next one arrives", func() bool { return other.has(fmt.Sprint("body-", before)) })
	if n := len(other.deliveries()); n != before+2 {
		t.Errorf("the other group has %d deliveries, wants each message once", n)
	}
}

// A handler that runs while the connection is lost is the only one that handles its event: what comes again is its own.
func TestAHandlerThatOutlivesItsConnectionRunsOnce(t *testing.T) {
	t.Parallel()
	s := server(t)
	proxy := testbroker.StartProxy(t, s.Addr())
	_, exchange := fresh(t, s)
	c := open(t, "amqp://"+proxy.Addr()+calm+"&exchange="+exchange)
	r := newRecorder()
	r.SettleNothing()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"long.a"}})
	giveUp(t, c)
	if err := c.Publish(t.Context(), numbered(0, 3, "long.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 3 })
	if err := cut(proxy); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the connection is back", func() bool {
		return c.Publish(t.Context(), numbered(3, 1, "long.a")) == nil && r.has("body-3")
	})
	seen := make(map[string]int)
	for _, d := range r.deliveries() {
		if seen[d.ID]++; seen[d.ID] > 1 {
			continue
		}
		if err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token}}); err != nil {
			t.Errorf("Settle of %s: %v", d.ID, err)
		}
	}
	for id, n := range seen {
		if n > 1 && id != "id-3" { // that one may have been published twice
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}

func TestOneActiveConsumerKeepsTheOrderOfItsKeys(t *testing.T) {
	t.Parallel()
	s := server(t)
	u, _ := fresh(t, s)
	publisher := open(t, u+"&single_active=true")
	sub := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"order.a"}, Prefetch: 20}
	r := newRecorder()
	end := subscribe(t, open(t, u+"&single_active=true"), r, sub)
	next := newRecorder()
	subscribe(t, open(t, u+"&single_active=true"), next, sub)
	for from := 0; from < 600; from += 30 {
		if from == 300 {
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		if err := publisher.Publish(t.Context(), numbered(from, 30, "order.a")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, "all arrive", func() bool { return len(r.deliveries())+len(next.deliveries()) >= 600 })
	for i, d := range append(r.deliveries(), next.deliveries()...) {
		if want := fmt.Sprintf("id-%d", i); d.ID != want {
			t.Fatalf("delivery %d is %s, want %s", i, d.ID, want)
		}
	}
}
