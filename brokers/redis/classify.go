package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// Error replies begin with a word that says what kind they are
// (https://redis.io/docs/latest/develop/reference/protocol-spec).
var (
	// passing replies say that the server does not take anything just now: nothing was executed, and it may be later.
	passing = []string{
		"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY ", "OOM", "MISCONF",
		"max number of clients",
	}
	// unwritten replies say of a server that it takes nothing new just now: it may still hand out and settle what it has.
	unwritten = []string{"OOM", "MISCONF", "NOREPLICAS"}
	// refusals say that this user, password or certificate is not welcome: only the operator can change that.
	refusals = []string{"NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "DB index is out of range", "invalid password"}
)

// classify says what became of a command that ended with err. began says whether its bytes may have left.
func classify(err error, began bool) brokers.Outcome {
	switch {
	case err == nil:
		return brokers.Confirmed
	case !began:
		return brokers.NotSent
	case !isReply(err):
		return brokers.Unknown
	case hasPrefix(err, passing):
		return brokers.NotSent
	default:
		return brokers.Rejected
	}
}

// retryable reports whether err may go away by itself.
func retryable(err error) bool {
	switch {
	case err == nil, errors.Is(err, brokers.ErrClosed), errors.Is(err, goredis.ErrClosed), refused(err):
		return false
	case isReply(err):
		return hasPrefix(err, passing)
	case errors.As(err, new(*brokers.CapabilityError)), errors.As(err, new(*brokers.HeaderError)), errors.As(err, new(badChannel)),
		errors.As(err, new(bodyTooLong)):
		return false
	default:
		return true
	}
}

// refused reports whether one side turned the other one away: the server by a reply or a TLS alert, which package tls
// calls a remote error, and we by not trusting its certificate.
func refused(err error) bool {
	if isReply(err) {
		return hasPrefix(err, refusals)
	}
	var op *net.OpError
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, &op) && op.Op == "remote error"
}

// isReply reports whether err is what the server replied, rather than the lack of a reply.
func isReply(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply) && !errors.Is(err, context.Canceled)
}

// execute runs a pipeline of questions. Its error is one of the connection: what the server replies to a command is the
// command's own.
//
// go-redis gives the commands no error at all where it was an error reply that kept it from having a connection, such as
// the ones to a wrong password, or of a server that is loading. That is an error of the connection too, and no command
// has a value then.
func execute(ctx context.Context, pipe goredis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	if isReply(err) && slices.ContainsFunc(cmds, func(c goredis.Cmder) bool { return c.Err() != nil }) {
		return nil
	}
	return err
}

// denied reports whether the server replied that it does not write, either for good or until it can again; any other error may
// be one of all commands.
func denied(err error) bool {
	return isReply(err) && (hasPrefix(err, unwritten) || !hasPrefix(err, passing))
}

func hasPrefix(err error, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return goredis.HasErrorPrefix(err, p) })
}
