package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

// refusals are errors by which the server turns us away, and which only the operator can change.
var refusals = []error{
	natsgo.ErrAuthorization, natsgo.ErrAuthExpired, natsgo.ErrAuthRevoked, natsgo.ErrAccountAuthExpired,
	natsgo.ErrPermissionViolation, natsgo.ErrSecureConnRequired, natsgo.ErrSecureConnWanted, natsgo.ErrNkeysNotSupported,
	natsgo.ErrNoUserCB,
}

// refused reports whether one side turned the other one away: the server by a reply or a TLS alert, which package tls
// calls a remote error, and we by not trusting its certificate.
func refused(err error) bool {
	for _, r := range refusals {
		if errors.Is(err, r) {
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, &op) && op.Op == "remote error"
}

// explained adds to an error of the TLS handshake what may have caused it.
//
// A server that wants the client's certificate says so in an alert after the handshake of TLS 1.3, and closes the connection.
// Suppose the client writes before it has read the alert: the write fails, and the alert is gone with the connection. A server
// that dies at that moment looks the same, so the error stays one that may go away.
func explained(err error) error {
	if !errors.Is(err, natsgo.ErrTLS) || refused(err) {
		return err
	}
	return fmt.Errorf("%w (so does a server that wants a client certificate: see tls_cert and tls_key)", err)
}

// rejects reports whether the client refused a message before it had sent anything of it, for good.
func rejects(err error) bool {
	for _, r := range []error{
		natsgo.ErrMaxPayload, natsgo.ErrBadSubject, natsgo.ErrBadHeaderMsg, natsgo.ErrHeadersNotSupported,
	} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

const (
	codeTooMany    = 429                        // of a stream that is sent more than it can store
	errAccountFull = jetstream.ErrorCode(10002) // of an account that has stored what it may
	errInProcess   = jetstream.ErrorCode(10158) // of a message whose id is that of one which the replicas have yet to take
)

// noRoomYet reports whether a stream stored nothing because there was no room at that moment, although the server's code is one
// of those that mean a wrong request.
func noRoomYet(e *jetstream.APIError) bool {
	return e.Code == codeTooMany || e.ErrorCode == errAccountFull
}

// retryable reports whether err may go away by itself.
func retryable(err error) bool {
	switch {
	case err == nil, errors.Is(err, brokers.ErrClosed), refused(err), rejects(err):
		return false
	case errors.As(err, new(*brokers.CapabilityError)), errors.As(err, new(*brokers.HeaderError)), errors.As(err, new(badChannel)),
		errors.As(err, new(bodyTooLong)), errors.As(err, new(*setupError)):
		return false
	default:
		return true
	}
}

// deniedChannel returns what the user may not publish to, or subscribe to, according to an error reply such as
// `Permissions Violation for Publish to "a.b"`.
func deniedChannel(err error, verb string) (string, bool) {
	_, rest, ok := strings.Cut(err.Error(), "for "+verb+" to \"")
	if !ok {
		return "", false
	}
	channel, _, ok := strings.Cut(rest, "\"")
	return channel, ok
}
