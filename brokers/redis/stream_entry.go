package redis

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// An entry of a stream has two fields: the body as it is, and beside it what the message has besides.
const (
	fieldMeta = "meta"
	fieldBody = "body"
)

// metaVersion begins each meta field. What is appended in a later version is ignored by this one.
const metaVersion = "1"

// A meta is the value of the field meta. It is written by go-redis as what MarshalBinary returns.
type meta struct{ text []byte }

func (m *meta) MarshalBinary() ([]byte, error) { return m.text, nil }

// appendMeta appends the meta field of m: the version, and then, each as its length, a colon and its bytes, the id,
// type, key, priority, time and not-before (nanoseconds since 1970, empty for none), and the headers, name and value
// in turn.
func appendMeta(b []byte, m *brokers.Message) []byte {
	b = append(b, metaVersion...)
	b = appendPart(b, m.ID)
	b = appendPart(b, m.Type)
	b = appendPart(b, m.Key)
	b = appendNumber(b, int64(m.Priority), m.Priority == 0)
	b = appendNumber(b, brokers.UnixNano(m.Time), m.Time.IsZero())
	b = appendNumber(b, brokers.UnixNano(m.NotBefore), m.NotBefore.IsZero())
	for _, h := range m.Headers {
		b = appendPart(b, h.Key)
		b = appendPart(b, h.Value)
	}
	return b
}

func appendPart(b []byte, s string) []byte {
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendNumber(b []byte, n int64, none bool) []byte {
	if none {
		return append(b, " 0:"...)
	}
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, ':')
	return append(b, text...)
}

// errMeta says that a meta field is none of ours.
var errMeta = errors.New("the field meta is not what eventbus writes")

// readMeta sets the fields of m that a meta field has.
func readMeta(m *brokers.Message, text string) error {
	rest, ok := strings.CutPrefix(text, metaVersion)
	if !ok {
		return errMeta
	}
	var parts [6]string
	for i := range parts {
		if parts[i], rest, ok = cutPart(rest); !ok {
			return errMeta
		}
	}
	m.ID, m.Type, m.Key = parts[0], parts[1], parts[2]
	priority, ok1 := readNumber(parts[3])
	at, ok2 := readNumber(parts[4])
	notBefore, ok3 := readNumber(parts[5])
	if !ok1 || !ok2 || !ok3 || priority != int64(int8(priority)) {
		return errMeta
	}
	m.Priority = int8(priority)
	if parts[4] != "" {
		m.Time = time.Unix(0, at).UTC()
	}
	if parts[5] != "" {
		m.NotBefore = time.Unix(0, notBefore).UTC()
	}
	for rest != "" {
		var h brokers.Header
		if h.Key, rest, ok = cutPart(rest); !ok {
			return errMeta
		}
		if h.Value, rest, ok = cutPart(rest); !ok {
			return errMeta
		}
		m.Headers = append(m.Headers, h)
	}
	return nil
}

// cutPart takes the first part off.
func cutPart(s string) (part, rest string, ok bool) {
	if s == "" || s[0] != ' ' {
		return "", "", false
	}
	length, rest, ok := strings.Cut(s[1:], ":")
	if !ok {
		return "", "", false
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || n > uint64(len(rest)) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

func readNumber(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// An entryID is where an entry is in its stream (https://redis.io/docs/latest/develop/data-types/streams/#entry-ids).
type entryID struct{ ms, seq uint64 }

// readID reads an id such as 1700000000000-3. One without a dash is the first of its millisecond.
func readID(s string) (entryID, bool) {
	ms, seq, found := strings.Cut(s, "-")
	var id entryID
	var err error
	if id.ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return id, false
	}
	if found {
		if id.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
			return id, false
		}
	}
	return id, true
}

func (id entryID) String() string {
	var b [41]byte
	return string(id.append(b[:0]))
}

func (id entryID) append(b []byte) []byte {
	b = strconv.AppendUint(b, id.ms, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, id.seq, 10)
}

func (id entryID) less(other entryID) bool {
	return id.ms < other.ms || id.ms == other.ms && id.seq < other.seq
}

// before returns the greatest id that is less.
func (id entryID) before() entryID {
	switch {
	case id.seq > 0:
		return entryID{id.ms, id.seq - 1}
	case id.ms > 0:
		return entryID{id.ms - 1, ^uint64(0)}
	}
	return id
}

// after returns the least id that is greater.
func (id entryID) after() entryID {
	if id.seq == ^uint64(0) {
		return entryID{id.ms + 1, 0}
	}
	return entryID{id.ms, id.seq + 1}
}
