package testbroker_test

import (
	"context"
	"net"
	"testing"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestARabbitMQCanBeKilledAndRestarted(t *testing.T) {
	r := testbroker.StartRabbitMQ(t, testbroker.RabbitMQOptions{Users: true, TLS: true})
	first := r.Pid()
	for _, addr := range []string{r.Addr(), r.TLSAddr()} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if r.Version() == "" {
		t.Error("its version is not known")
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", r.Addr()); err == nil {
		_ = c.Close()
		t.Error("it listens although it was killed")
	}
	if err := r.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.Pid() == first || r.Pid() == 0 {
		t.Errorf("after the restart it has the process id %d, before %d", r.Pid(), first)
	}
}
