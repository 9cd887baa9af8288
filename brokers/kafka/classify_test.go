package kafka

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"crypto/tls"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestTheOutcomeOfABatchFollowsFromItsError(t *testing.T) {
	for _, tt := range []struct {
		err   error
		begun bool
		want  brokers.Outcome
	}{
		{nil, true, brokers.Confirmed},
		{io.ErrUnexpectedEOF, true, brokers.Unknown},
		{context.DeadlineExceeded, true, brokers.Unknown},
		{io.ErrUnexpectedEOF, false, brokers.NotSent},
		{context.Canceled, false, brokers.NotSent},
		{brokers.ErrClosed, false, brokers.NotSent},
		{produce.NewError(protocol.NewErrNoTopic("a")), false, brokers.NotSent},
		{kafkago.NotLeaderForPartition, true, brokers.NotSent},
		{kafkago.UnknownTopicOrPartition, true, brokers.NotSent},
		{kafkago.NotEnoughReplicas, true, brokers.NotSent},
		{kafkago.NotEnoughReplicasAfterAppend, true, brokers.Unknown},
		{kafkago.RequestTimedOut, true, brokers.Unknown},
		{kafkago.Unknown, true, brokers.Unknown},
		{kafkago.MessageSizeTooLarge, true, brokers.Rejected},
		{kafkago.TopicAuthorizationFailed, true, brokers.Rejected},
		{kafkago.InvalidTimestamp, true, brokers.Rejected},
		{fmt.Errorf("create: %w", kafkago.InvalidTopic), false, brokers.Rejected},
		{kafkago.SASLAuthenticationFailed, false, brokers.NotSent},
	} {
		if got := classify(tt.err, tt.begun); got != tt.want {
			t.Errorf("%v, begun %v, is %v, wants %v", tt.err, tt.begun, got, tt.want)
		}
	}
}

func TestWhatMayGoAwayByItselfIsRetryable(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{brokers.ErrClosed, false},
		{io.EOF, true},
		{context.DeadlineExceeded, true},
		{kafkago.NotLeaderForPartition, true},
		{kafkago.RequestTimedOut, true},
		{kafkago.SASLAuthenticationFailed, false},
		{kafkago.GroupAuthorizationFailed, false},
		{kafkago.GroupCoordinatorNotAvailable, true},
		{kafkago.GroupLoadInProgress, true},
		{kafkago.RebalanceInProgress, true},
		{missingTopic("a", true, kafkago.UnknownTopicOrPartition), true},
		{missingTopic("a", true, kafkago.PolicyViolation), false},
		{missingTopic("a", true, kafkago.InvalidReplicationFactor), false},
		{kafkago.InconsistentGroupProtocol, false},
		{kafkago.InvalidSessionTimeout, false},
		{kafkago.MessageSizeTooLarge, false},
		{badChannel{errors.New("x")}, false},
		{tooLong{"a body", 2, 1}, false},
		{&brokers.CapabilityError{}, false},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
	} {
		if got := retryable(tt.err); got != tt.want {
			t.Errorf("%v is retryable: %v, wants %v", tt.err, got, tt.want)
		}
	}
}

// The partitions of the Java client, from the test of its Utils.murmur2 (UtilsTest.testMurmur2 in Apache Kafka): the hash
// of each key, made positive, modulo the number of partitions.
func TestAKeyHasThePartitionOfTheJavaClient(t *testing.T) {
	topic := &topic{}
	for i := range 12 {
		topic.ids = append(topic.ids, i)
	}
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got, want := topic.partitionOf(key, 0), int(hash&0x7fffffff)%12; got != want {
			t.Errorf("%q is in partition %d, wants %d", key, got, want)
		}
	}
}

// What has no key is spread over all partitions, and what was published together stays together.
func TestMessagesWithoutAKeyAreSpreadOverAllPartitions(t *testing.T) {
	topic := &topic{ids: []int{0, 1, 2}}
	used := make(map[int]int)
	for turn := range 30 {
		used[topic.partitionOf("", turn)]++
	}
	if used[0] != 10 || used[1] != 10 || used[2] != 10 {
		t.Errorf("of 30 calls the partitions got %v", used)
	}
}

func TestAHeartbeatIsWrittenAndRead(t *testing.T) {
	b := &beat{group: "g", generation: 7, member: "me"}
	want := "\x00\x00\x00\x17\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01g\x00\x00\x00\x07\x00\x02me"
	got := b.encode()
	if n := binary.BigEndian.Uint32(got); int(n) != len(got)-4 {
		t.Errorf("the size is %d of %d bytes", n, len(got))
	}
	if string(got[4:]) != want[4:] {
		t.Errorf("%q, wants %q", got, want)
	}
	r, err := decodeBeat([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1b"))
	if err != nil || codeError(r.code) != error(kafkago.RebalanceInProgress) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := decodeBeat([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x1b")); err == nil {
		t.Error("the response to another request was taken")
	}
}

func TestWhatWillNotPassIsTriedEverMoreSeldom(t *testing.T) {
	s, _ := given()
	k := newKeeper(t.Context(), s)
	if err := k.judge(kafkago.PolicyViolation); err == nil {
		t.Error("a subscription that was never ready goes on")
	}
	k.well()
	for _, tt := range []struct {
		err  error
		want time.Duration
		gaps int
	}{
		{kafkago.GroupLoadInProgress, pauseOnError, 0},
		{kafkago.PolicyViolation, 2 * pauseOnError, 1},
		{kafkago.PolicyViolation, 4 * pauseOnError, 1},
		{kafkago.InvalidTopic, 8 * pauseOnError, 2},
		{io.EOF, pauseOnError, 2},
	} {
		if err := k.judge(tt.err); err != nil || k.wait != tt.want || len(s.gaps) != tt.gaps {
			t.Errorf("%v: %v, waits %v, %d gaps; wants %v, %d", tt.err, err, k.wait, len(s.gaps), tt.want, tt.gaps)
		}
	}
	for range 20 {
		_ = k.judge(kafkago.PolicyViolation)
	}
	if k.wait != longestPause {
		t.Errorf("at last it waits %v", k.wait)
	}
	k.well()
	_ = k.judge(kafkago.PolicyViolation)
	if k.wait != 2*pauseOnError || len(s.gaps) != 4 {
		t.Errorf("after it was well, it waits %v, with %d gaps", k.wait, len(s.gaps))
	}
	if err := k.judge(kafkago.GroupAuthorizationFailed); err == nil {
		t.Error("a user that is refused goes on")
	}
}
