package testbroker

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
)

// Ports are chosen below those that systems give to outgoing connections (from 32768 on on Linux, from 49152 on elsewhere): one of
// those may be taken by any connection before its server listens, and while a server that was killed is down.
const firstPort, endPort = 16384, 32768

// freePort returns a port on which nobody listens. It is this process's as long as that lives: suppose a server that was killed is
// down, and the tests of another package choose its port meanwhile.
func freePort() (port int, err error) {
	for range 100 {
		port = firstPort + rand.IntN(endPort-firstPort)
		if !reserve(port) {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.Join(errors.New("testbroker: no port is free"), err)
}

// reserved has a UDP socket of each port that we have chosen, which nobody talks to: it keeps other processes from choosing the port,
// and ends with the process.
var reserved struct {
	sync.Mutex
	sockets []net.PacketConn
}

// reserve reports whether nobody has chosen a port yet, here or in another process.
func reserve(port int) bool {
	socket, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		return false
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.sockets = append(reserved.sockets, socket)
	return true
}

// withFreePorts starts a server again, on other ports, where somebody has taken one of them between its choice and the seconds later in
// which the server listens on it. It says so in its log, which is in the error.
func withFreePorts[T any](start func() (T, error)) (server T, err error) {
	for range 3 {
		server, err = start()
		if err == nil || !portTaken(err.Error()) {
			return server, err
		}
	}
	return server, err
}

func portTaken(log string) bool {
	for _, text := range []string{"eaddrinuse", "Address already in use", "dist_port_already_used"} {
		if strings.Contains(log, text) {
			return true
		}
	}
	return false
}
