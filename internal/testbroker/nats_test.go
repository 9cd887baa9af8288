package testbroker

import (
	"net"
	"testing"
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
