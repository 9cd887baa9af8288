package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// What the broker's error codes say of a batch that was produced (https://kafka.apache.org/protocol#protocol_error_codes).
var (
	// passing codes say that nothing was appended, and that it may be later.
	passing = map[kafkago.Error]bool{
		kafkago.UnknownTopicOrPartition: true, kafkago.LeaderNotAvailable: true, kafkago.NotLeaderForPartition: true,
		kafkago.NotEnoughReplicas: true, kafkago.InvalidMessage: true, kafkago.BrokerNotAvailable: true,
		kafkago.ReplicaNotAvailable: true, kafkago.GroupLoadInProgress: true, kafkago.GroupCoordinatorNotAvailable: true,
		kafkago.NotCoordinatorForGroup: true, kafkago.NotController: true, kafkago.FencedLeaderEpoch: true,
		kafkago.UnknownLeaderEpoch: true, kafkago.ThrottlingQuotaExceeded: true, kafkago.UnknownTopicID: true,
		kafkago.InconsistentTopicID: true, kafkago.ListenerNotFound: true, kafkago.TopicAlreadyExists: true,
		kafkago.ReassignmentInProgress: true, kafkago.RebalanceInProgress: true, kafkago.IllegalGeneration: true,
		kafkago.UnknownMemberId: true, kafkago.MemberIDRequired: true, kafkago.OffsetNotAvailable: true,
		kafkago.StaleControllerEpoch: true, kafkago.GroupMaxSizeReached: true, kafkago.UnstableOffsetCommit: true,
	}
	// doubtful codes do not say whether the batch was appended.
	doubtful = map[kafkago.Error]bool{
		kafkago.Unknown: true, kafkago.RequestTimedOut: true, kafkago.NetworkException: true,
		kafkago.NotEnoughReplicasAfterAppend: true, kafkago.KafkaStorageError: true,
	}
	// refusals say that this user is not welcome: only the operator can change that.
	refusals = map[kafkago.Error]bool{
		kafkago.SASLAuthenticationFailed: true, kafkago.UnsupportedSASLMechanism: true, kafkago.IllegalSASLState: true,
		kafkago.TopicAuthorizationFailed: true, kafkago.GroupAuthorizationFailed: true,
		kafkago.ClusterAuthorizationFailed: true, kafkago.SecurityDisabled: true,
	}
)

// classify says what became of a batch whose request ended with err. begun says whether its bytes may have left.
func classify(err error, begun bool) brokers.Outcome {
	code, coded := codeOf(err)
	switch {
	case err == nil:
		return brokers.Confirmed
	case errors.As(err, new(tooFew)):
		return brokers.NotSent
	case !begun && coded && !passing[code] && !doubtful[code] && !refusals[code]:
		return brokers.Rejected // the topic cannot be created, for one
	case !begun:
		return brokers.NotSent
	case !coded, doubtful[code]:
		return brokers.Unknown
	case passing[code]:
		return brokers.NotSent
	default:
		return brokers.Rejected
	}
}

// retryable reports whether err may go away by itself.
func retryable(err error) bool {
	code, coded := codeOf(err)
	switch {
	case err == nil, errors.Is(err, brokers.ErrClosed), refused(err):
		return false
	case errors.As(err, new(*brokers.CapabilityError)), errors.As(err, new(*brokers.HeaderError)), errors.As(err, new(badChannel)),
		errors.As(err, new(tooLong)):
		return false
	case errors.As(err, new(tooMany)), errors.As(err, new(tooFew)):
		return true
	case coded:
		return passing[code] || doubtful[code]
	default:
		return true
	}
}

// refused reports whether one side turned the other one away: the broker by a code or a TLS alert, which package tls
// calls a remote error, and we by not trusting its certificate.
func refused(err error) bool {
	if code, ok := codeOf(err); ok {
		return refusals[code]
	}
	var op *net.OpError
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, &op) && op.Op == "remote error"
}

// batchRefused reports whether a batch was over the topic's max.message.bytes or the segment's size: each of its messages may fit.
func batchRefused(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}

// codeOf returns the broker's error code, if err has one.
func codeOf(err error) (kafkago.Error, bool) {
	var code kafkago.Error
	ok := errors.As(err, &code)
	return code, ok
}

// codeError returns the error of a response's code, nil for 0.
func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafkago.Error(code)
}

// A badChannel is the error of a message whose channel is no name.
type badChannel struct{ error }

// A tooMany is the error of a batch that was refused for its size, and whose messages are sent again in smaller ones.
type tooMany struct{ error }

func (e tooMany) Unwrap() error { return e.error }

// A tooLong is the error of a message that was not even tried.
type tooLong struct {
	what       string
	size, most int
}

func (e tooLong) Error() string {
	return fmt.Sprintf("%s of %d bytes is over the limit of %d (max_bytes)", e.what, e.size, e.most)
}
