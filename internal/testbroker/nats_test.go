package testbroker

import (
	"net"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAKilledNATSComesBackOnItsPort(t *testing.T) {
	n := AnyNATS(t, NATSOptions{JetStream: true})
	if n.Version() == "" {
		t.Fatal("it has no version")
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", n.Addr()); err == nil {
		c.Close()
		t.Fatal("it still listens after Kill")
	}
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestANATSCanBeFrozenAndThawed(t *testing.T) {
	n := RealNATS(t, NATSOptions{})
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := n.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := n.awaitReady(t.Context(), n.proc); err != nil {
		t.Fatal(err)
	}
}

func TestTheClockOfANATSGoesOnFromWhereItIsSet(t *testing.T) {
	n := RealNATS(t, NATSOptions{JetStream: true, Clock: true})
	nc, err := natsgo.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		if err := n.SetClock(ahead); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if off := info.TimeStamp.Sub(before) - ahead; off < -time.Second || info.TimeStamp.After(time.Now().Add(ahead+time.Second)) {
			t.Errorf("%v ahead it is off by %v", ahead, off)
		}
	}
}
