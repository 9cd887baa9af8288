package testbroker

import (
	"errors"
	"testing"
)

func TestAServerWhosePortWasTakenIsStartedAgain(t *testing.T) {
	taken, other := errors.New("it ended at once\n{listen_error, eaddrinuse}"), errors.New("it ended at once")
	distribution := errors.New("BOOT FAILED\nreason: {dist_port_already_used,32885,not_erlang,\"localhost\"}")
	for _, tt := range []struct {
		name  string
		errs  []error // of each start
		tries int
	}{
		{"at once", []error{nil}, 1},
		{"taken once", []error{taken, nil}, 2},
		{"always taken", []error{taken, taken, taken, nil}, 3},
		{"RabbitMQ's second port", []error{distribution, nil}, 2},
		{"another error", []error{other, nil}, 1},
	} {
		tries := 0
		_, err := withFreePorts(func() (int, error) { tries++; return 0, tt.errs[tries-1] })
		if tries != tt.tries || !errors.Is(err, tt.errs[tries-1]) {
			t.Errorf("%s: %d tries, %v", tt.name, tries, err)
		}
	}
}

// Suppose a port could be that of an outgoing connection: a server that was killed might not get its port back.
func TestAChosenPortIsNoneOfOutgoingConnections(t *testing.T) {
	for range 100 {
		if port, err := freePort(); err != nil || port < firstPort || port >= endPort {
			t.Fatalf("%d, %v", port, err)
		}
	}
}

// Suppose a server is killed, and before it is started again another package's tests choose a port: it must not be that one.
func TestAChosenPortIsNobodyElses(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if reserve(port) {
		t.Errorf("%d is chosen a second time", port)
	}
}
