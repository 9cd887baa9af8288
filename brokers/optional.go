package brokers

import "context"

// A Pinger is a Conn that can tell whether its broker answers. It is optional: a bus asserts it for its health check.
type Pinger interface {
	// Ping asks the broker for a reply and returns nil once it came. It returns within 100 ms of ctx's end, with the
	// reason why there is no reply, which never contains a password. It is safe for concurrent use.
	Ping(ctx context.Context) error
}
