package testbroker

import "strings"

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
	return strings.Contains(log, "eaddrinuse") || strings.Contains(log, "Address already in use")
}
