package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A link is the connection to one broker, with what its driver can do beyond the contract. This file is where the bus asks
// for that: once, when it opens the connection.
type link struct {
	brokers.Conn
	name   string // in the configuration
	tag    string // the name where the bus has several brokers, else empty
	scheme string
	caps   brokers.Capabilities
	batch  brokers.Batch // the size that suits its driver

	// What a driver may have; nil where it has not.
	pinger      brokers.Pinger
	lagger      brokers.Lagger
	provisioner brokers.Provisioner
	unrouter    brokers.Unrouter
	warner      brokers.Warner
	local       bool     // it is a brokers.Local
	warned      sync.Map // the warnings that were logged and are not over

	avail *availability
	guard func(where string, f func()) error // contains panics of the driver
	note  func(kind string, level slog.Level, message string, attrs ...any)
}

func newLink(conn brokers.Conn, plan brokerPlan, scheme string, several bool) *link {
	l := &link{Conn: conn, name: plan.name, scheme: scheme, caps: conn.Capabilities(), batch: batchSizeOf(conn)}
	if several {
		l.tag = plan.name
	}
	l.pinger, _ = conn.(brokers.Pinger)
	l.lagger, _ = conn.(brokers.Lagger)
	l.provisioner, _ = conn.(brokers.Provisioner)
	l.unrouter, _ = conn.(brokers.Unrouter)
	l.warner, _ = conn.(brokers.Warner)
	_, l.local = conn.(brokers.Local)
	return l
}

// known returns the scheme of the broker's URL, empty where the bus was given the connection.
func (l *link) known() string {
	if l.scheme == givenConn {
		return ""
	}
	return l.scheme
}

// ping asks the broker for a sign of life, where its driver can.
func (l *link) ping(ctx context.Context) (err error) {
	if l.pinger == nil {
		return nil
	}
	if p := l.guard("driver", func() { err = l.pinger.Ping(ctx) }); p != nil {
		return p
	}
	return err
}

// unroutable returns how many messages the broker kept for nobody, where its driver knows.
func (l *link) unroutable() (n int64) {
	if l.unrouter != nil {
		_ = l.guard("driver", func() { n = l.unrouter.Unroutable() }) // a panic is counted where panics are
	}
	return n
}

// retryable reports whether waiting may cure err. A driver that panics does not know, here or when it made err.
func (l *link) retryable(err error) (again bool) {
	if errors.As(err, new(*brokers.PanicError)) {
		return true
	}
	again = true
	_ = l.guard("driver", func() { again = l.Retryable(err) })
	return again
}

// warn logs what the driver warns of: each warning once, and once more when it comes again after it was over. It does no I/O.
func (l *link) warn() {
	if l.warner == nil {
		return
	}
	var warnings []string
	_ = l.guard("driver", func() { warnings = l.warner.Warnings() })
	for _, text := range warnings {
		if _, before := l.warned.LoadOrStore(text, true); !before {
			l.note("warning:"+l.tag+text, slog.LevelWarn, "the broker does not keep all that its driver promises",
				"broker", cmp.Or(l.tag, l.scheme), "warning", text)
		}
	}
	l.warned.Range(func(text, _ any) bool {
		if !slices.Contains(warnings, text.(string)) {
			l.warned.Delete(text)
		}
		return true
	})
}

// wrong makes the error about the broker.
func (l *link) wrong(problem string, err error) error {
	return &BrokerError{Broker: l.tag, Scheme: l.scheme, Problem: problem, Err: err}
}

// A BrokerError says what is wrong with one broker.
type BrokerError struct {
	// Broker is its name, where the bus has several.
	Broker string
	// Scheme is that of its URL.
	Scheme string
	// Problem is what was asked of it in vain, such as "the broker does not answer".
	Problem string
	Err     error
}

// Error names the broker, the problem and the reason.
func (e *BrokerError) Error() string {
	if e.Broker == "" {
		return fmt.Sprintf("bus: %s: %s: %v", e.Scheme, e.Problem, e.Err)
	}
	return fmt.Sprintf("bus: broker %s (%s): %s: %v", e.Broker, e.Scheme, e.Problem, e.Err)
}

// Unwrap returns the reason.
func (e *BrokerError) Unwrap() error { return e.Err }

// eachLink calls f for every broker, all at once, so that none waits for another one, and joins what they return in the order
// of the links.
func eachLink(links []*link, f func(int, *link) error) error {
	if len(links) == 1 {
		return f(0, links[0])
	}
	errs := make([]error, len(links))
	var all sync.WaitGroup
	for i, l := range links {
		all.Go(func() { errs[i] = f(i, l) })
	}
	all.Wait()
	return errors.Join(errs...)
}
