package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A bodyTooLong is the error of a message that was not even tried.
type bodyTooLong struct{ size, most int }

func (e bodyTooLong) Error() string {
	return fmt.Sprintf("a body of %d bytes is over max_bytes (%d)", e.size, e.most)
}

// A headersTooLong is the error of a message whose fields do not fit into one frame, which the protocol wants.
type headersTooLong struct{ size int }

func (e headersTooLong) Error() string {
	return fmt.Sprintf("headers of %d bytes do not fit into a frame (%d)", e.size, maxFields)
}

// A badChannel is a channel that no message can be published to, or a pattern that is none.
type badChannel struct{ err error }

func (e badChannel) Error() string { return e.err.Error() }
func (e badChannel) Unwrap() error { return e.err }

// A noRoute is the error of a message on a required channel that no queue wanted.
type noRoute struct{ channel string }

func (e noRoute) Error() string {
	return fmt.Sprintf("no queue is bound for the channel %q, which the URL calls required: provision the groups that read it, "+
		"or leave it out of required", e.channel)
}

// A nacked is the error of a message that a queue did not take.
type nacked struct{}

func (nacked) Error() string {
	return "the broker did not take it (basic.nack): a queue is full, or has lost the majority of its replicas"
}

// A blockedError is why a server takes no messages at the moment.
type blockedError struct{ reason string }

func (e blockedError) Error() string {
	return fmt.Sprintf("the broker takes no messages until its alarm is over (connection.blocked: %s)", e.reason)
}

// A setupError says what has to be changed before a queue or an exchange can be used.
type setupError struct {
	what   string // such as `queue "eventbus:mail:a.b"`
	remedy string
	err    error
}

func (e *setupError) Error() string { return fmt.Sprintf("%s: %s (%v)", e.what, e.remedy, e.err) }
func (e *setupError) Unwrap() error { return e.err }

// setup explains an error by which the server refused to create, bind or read something.
func setup(what string, err error) error {
	var e *amqp.Error
	if !errors.As(err, &e) || !e.Server {
		return err
	}
	remedy := ""
	switch e.Code {
	case amqp.AccessRefused:
		remedy = "the user lacks a right: grant it with rabbitmqctl set_permissions, or have another account create what is " +
			"needed and open with create=false"
	case amqp.PreconditionFailed:
		remedy = "it exists with other settings: open with the settings that it has (queue, single_active), or delete it"
	case amqp.NotFound:
		remedy = "it does not exist: create it beforehand, or open without create=false"
	case amqp.NotAllowed, amqp.NotImplemented:
		remedy = "the server does not allow it"
	default:
		return err
	}
	return &setupError{what, remedy, err}
}

// notFound reports whether the server says that something does not exist. Of what it cannot reach at the moment it says the
// same code.
func notFound(err error) bool {
	return code(err) == amqp.NotFound && (strings.Contains(err.Error(), "no queue '") || strings.Contains(err.Error(), "no exchange '"))
}

// code returns the server's reply code; 0 where it is no reply.
func code(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) && e.Server {
		return e.Code
	}
	return 0
}

// refused reports whether one side turned the other one away while the connection was made: the server by a reply or a TLS
// alert, which package tls calls a remote error, and we by not trusting its certificate.
func refused(err error) bool {
	var e *amqp.Error
	if errors.As(err, &e) && (e.Code == amqp.AccessRefused || e.Code == amqp.NotAllowed) {
		return true
	}
	var op *net.OpError
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, &op) && op.Op == "remote error"
}

// explained adds to an error of the handshake what it may mean.
func explained(err error) error {
	var e *amqp.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e == amqp.ErrSASL:
		return fmt.Errorf("the server offers no login of this kind (auth): %w", err)
	case e.Code == amqp.AccessRefused:
		return fmt.Errorf("the server refuses the user or the password: %w", err)
	case e.Code == amqp.NotAllowed:
		return fmt.Errorf("the server refuses the virtual host: %w", err)
	case strings.Contains(e.Reason, "remote error: tls"):
		return fmt.Errorf("the server refuses our certificate (see tls_cert and tls_key): %w", err)
	}
	return err
}

// retryable reports whether err may go away by itself.
func retryable(err error) bool {
	var setup *setupError
	switch {
	case err == nil, errors.Is(err, brokers.ErrClosed), refused(err):
		return false
	case errors.As(err, new(*brokers.CapabilityError)), errors.As(err, new(*brokers.HeaderError)), errors.As(err, new(badChannel)),
		errors.As(err, new(bodyTooLong)), errors.As(err, new(headersTooLong)), errors.As(err, new(noRoute)), errors.As(err, &setup):
		return false
	default:
		return true
	}
}
