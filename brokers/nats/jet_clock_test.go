package nats_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose the server's clock jumps an hour while one event waits for its retry in some seconds and another for one in half an hour, a
// handler is at work, and a member has died with one more: in a group of one member and in one of two.
func TestAnHourThatTheServersClockJumpsIsNotNoticed(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbroker.RealNATS(t, testbroker.NATSOptions{JetStream: true, Clock: true})
			groups := []*clockGroup{newClockGroup(t, server, "alone"), newClockGroup(t, server, "two")}
			c := open(t, groups[0].url)
			publish(t, c, "dead")
			for _, g := range groups {
				g.leaveWithADeadMember(t, server)
			}
			publish(t, c, "soon", "later", "live", "at once")
			for _, g := range groups {
				g.join(t, 4)
			}
			groups[1].joinSecond(t)
			for _, g := range groups {
				g.redeliver(t, "soon", clockWait)
				g.redeliver(t, "later", 30*time.Minute)
			}
			if err := server.SetClock(jump); err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				g.redeliver(t, "at once", 100*time.Millisecond)
			}
			for _, g := range groups {
				g.check(t)
			}
		})
	}
}

// A clockGroup is a group of one or two members on a server whose clock jumps.
type clockGroup struct {
	name, url string
	sub       brokers.Subscription
	first     *recorder
	second    *recorder
	sent      time.Time // when the last one was sent back
}

// clockWait is how long the retry waits.
const clockWait = 6 * time.Second

// newClockGroup has the server make a group.
func newClockGroup(t *testing.T, server *testbroker.NATS, name string) *clockGroup {
	g := &clockGroup{
		name: name, url: server.JetURL() + "?ack_wait=4s&dial_timeout=20s", first: newRecorder(), second: newRecorder(),
		sub: brokers.Subscription{Name: "s", Group: name, Channels: []string{"clock.a"}},
	}
	if err := subscribe(t, open(t, g.url), newRecorder(), g.sub)(); err != nil {
		t.Fatal(err)
	}
	g.first.SettleNothing()
	g.second.SettleNothing()
	return g
}

// join has the first member be delivered n events.
func (g *clockGroup) join(t *testing.T, n int) {
	t.Helper()
	subscribe(t, open(t, g.url), g.first, g.sub)
	t.Cleanup(func() { letGo(g.first, g.second) })
	eventually(t, 30*time.Second, "all arrive", func() bool { return g.first.has("at once") && len(g.first.deliveries()) >= n })
}

func (g *clockGroup) joinSecond(t *testing.T) {
	t.Helper()
	subscribe(t, open(t, g.url), g.second, g.sub)
	t.Cleanup(func() { letGo(g.first, g.second) })
}

func (g *clockGroup) redeliver(t *testing.T, body string, after time.Duration) {
	t.Helper()
	if body == "soon" {
		g.sent = time.Now()
	}
	d := g.first.named(body)[0]
	err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token, Verdict: brokers.Redeliver, After: after}})
	if err != nil {
		t.Fatal(err)
	}
}

func (g *clockGroup) named(body string) []brokers.Delivery {
	return append(g.first.named(body), g.second.named(body)...)
}

// check waits until all has come that is to come, and looks whether anything has come besides.
func (g *clockGroup) check(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, g.name+": the retry comes", func() bool { return len(g.named("soon")) == 2 })
	if took := time.Since(g.sent); took < clockWait {
		t.Errorf("%s: the retry that has to wait for %v came after %v", g.name, clockWait, took)
	}
	if d := g.first.named("soon"); len(d) == 2 && d[1].Attempt != 2 {
		t.Errorf("%s: the second attempt is said to be number %d", g.name, d[1].Attempt)
	}
	eventually(t, 60*time.Second, g.name+": the short retry comes", func() bool { return len(g.named("at once")) == 2 })
	eventually(t, 60*time.Second, g.name+": what a dead member had comes", func() bool { return len(g.named("dead")) == 1 })
	for _, body := range []string{"later", "live"} { // what waits for half an hour, and what a live handler has
		if n := len(g.named(body)); n != 1 {
			t.Errorf("%s: %q was delivered %d times", g.name, body, n)
		}
	}
}

// leaveWithADeadMember has a client that does not settle be delivered an event of the group.
func (g *clockGroup) leaveWithADeadMember(t *testing.T, server *testbroker.NATS) {
	t.Helper()
	stream, err := admin(t, server).Stream(t.Context(), "eventbus-clock")
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if !strings.HasPrefix(name, g.name) {
			continue
		}
		consumer, err := stream.Consumer(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second)); err != nil || string(msg.Data()) != "dead" {
			t.Fatalf("%v, %v", msg, err)
		}
		return
	}
	t.Fatal("there is no such group")
}

func publish(t *testing.T, c brokers.Conn, bodies ...string) {
	t.Helper()
	var out []brokers.Message
	for _, body := range bodies {
		out = append(out, message("clock.a", body))
	}
	if err := c.Publish(t.Context(), out); err != nil {
		t.Fatal(err)
	}
}

// letGo settles what was delivered, so that the subscriptions can end however the test does.
func letGo(recorders ...*recorder) {
	for _, r := range recorders {
		r.SettleAll()
		for _, d := range r.deliveries() {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}}) // some are settled already
		}
	}
}

// named returns the deliveries of a body.
func (r *recorder) named(body string) (out []brokers.Delivery) {
	for _, d := range r.deliveries() {
		if string(d.Body) == body {
			out = append(out, d)
		}
	}
	return out
}
