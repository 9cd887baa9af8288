package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

// A beat is a heartbeat, written and read by hand: the client's own has the fields of the response in the wrong order, so
// that no error is ever seen and with it no rebalance, and goes to any broker instead of the group's coordinator.
type beat struct {
	group      string
	generation int32
	member     string
}

// A beatReply is the response to a beat.
type beatReply struct{ code int16 }

// heartbeatVersion is one that every broker knows, from 0.11 on.
const heartbeatVersion = 1

// ApiKey is protocol.Message's.
func (*beat) ApiKey() protocol.ApiKey { return protocol.Heartbeat }

// ApiKey is protocol.Message's.
func (*beatReply) ApiKey() protocol.ApiKey { return protocol.Heartbeat }

// Group makes the client send it to the group's coordinator.
func (b *beat) Group() string { return b.group }

// Required is protocol.RawExchanger's: it is always written by RawExchange.
func (*beat) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange writes the request and reads the response.
func (b *beat) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if _, err := rw.Write(b.encode()); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	// correlation id, throttle time and error code
	const want = 4 + 4 + 2
	if n := binary.BigEndian.Uint32(size[:]); n != want {
		return nil, fmt.Errorf("the response to a heartbeat has %d bytes instead of %d", n, want)
	}
	var body [want]byte
	if _, err := io.ReadFull(rw, body[:]); err != nil {
		return nil, err
	}
	return decodeBeat(body[:])
}

// encode writes https://kafka.apache.org/protocol#The_Messages_Heartbeat with an empty client id and the correlation id 0.
func (b *beat) encode() []byte {
	out := make([]byte, 4, 32+len(b.group)+len(b.member))
	out = binary.BigEndian.AppendUint16(out, uint16(protocol.Heartbeat))
	out = binary.BigEndian.AppendUint16(out, heartbeatVersion)
	out = binary.BigEndian.AppendUint32(out, 0)
	out = appendString(out, "")
	out = appendString(out, b.group)
	out = binary.BigEndian.AppendUint32(out, uint32(b.generation))
	out = appendString(out, b.member)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func appendString(out []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...)
}

func decodeBeat(body []byte) (*beatReply, error) {
	if binary.BigEndian.Uint32(body) != 0 {
		return nil, errors.New("the response to a heartbeat belongs to another request")
	}
	return &beatReply{int16(binary.BigEndian.Uint16(body[8:]))}, nil
}
