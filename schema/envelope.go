package schema

import (
	"fmt"
	"unicode/utf8"

	"github.com/eventbus-go/eventbus/internal/pattern"
)

// The keys of the envelope, in the order of the contract.
const (
	keyID = iota
	keyType
	keyTime
	keySource
	keyPriority
	keySubject
	keyActor
	keyResource
	keyData
	keyMetadata
	keyCount
	keyUnknown = keyCount
)

// keyNames is what the keys are called on the wire.
var keyNames = [keyCount]string{
	"event_id", "event_type", "timestamp", "source", "priority", "subject", "actor", "resource", "data", "metadata",
}

// keyOf returns which key of the envelope name is. The comparison is case-sensitive.
func keyOf(name []byte) int {
	switch string(name) {
	case "event_id":
		return keyID
	case "event_type":
		return keyType
	case "timestamp":
		return keyTime
	case "source":
		return keySource
	case "priority":
		return keyPriority
	case "subject":
		return keySubject
	case "actor":
		return keyActor
	case "resource":
		return keyResource
	case "data":
		return keyData
	case "metadata":
		return keyMetadata
	}
	return keyUnknown
}

// MaxNameLen is the greatest length of an event's id and of its source, in bytes. It is our own limit: ids are kept in
// the windows that find duplicates, and both travel in the headers of brokers.
const MaxNameLen = 128

// checkID says what is wrong with an event's id; "" means nothing. The same holds for sources.
func checkID(s string) (problem string) {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxNameLen:
		return fmt.Sprintf("is %d bytes long, at most %d are allowed", len(s), MaxNameLen)
	}
	i := skipPlain(s, 0)
	if i == len(s) {
		return ""
	}
	for ; i < len(s); i++ {
		if s[i] < ' ' {
			return fmt.Sprintf("contains the control character %q", s[i])
		}
	}
	return checkText(s)
}

// checkType says what is wrong with an event's type.
func checkType(s string) (problem string) {
	if err := pattern.CheckName(s); err != nil {
		return "is no name: " + err.Error()
	}
	return ""
}

// checkText says what is wrong with a string that may be anything.
func checkText(s string) (problem string) {
	if skipPlain(s, 0) < len(s) && !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	return ""
}
