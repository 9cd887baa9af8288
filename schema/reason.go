package schema

import "fmt"

// A Reason says in a word why bytes are no event. It is used as the value of a metric's label, so there are few of them
// and they do not change.
type Reason string

// Why [Decode] refuses bytes.
const (
	ReasonTooLarge      Reason = "too_large"      // longer than the limit, or too many unknown keys
	ReasonSyntax        Reason = "syntax"         // not JSON, or not an object
	ReasonUTF8          Reason = "utf8"           // a string that is not UTF-8, or half of a surrogate pair
	ReasonDepth         Reason = "depth"          // nested more than MaxDepth deep
	ReasonDuplicateKey  Reason = "duplicate_key"  // a key of the envelope twice
	ReasonTrailingBytes Reason = "trailing_bytes" // something after the object
	ReasonMissingField  Reason = "missing_field"  // a required key is absent
	ReasonBadField      Reason = "bad_field"      // a key's value is not what the contract says
)

// A DecodeError says why bytes are no event, and where.
type DecodeError struct {
	Reason Reason
	Offset int    // the byte at which it was noticed, from 0
	Msg    string // what is wrong; it shows key names, never values
}

// Error shows the reason, the place and what is wrong.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("schema: %s at byte %d: %s", e.Reason, e.Offset, e.Msg)
}

func syntaxFault(b []byte, i int, want string) *DecodeError {
	if i >= len(b) {
		return &DecodeError{ReasonSyntax, len(b), "it ends where " + want + " is expected"}
	}
	return &DecodeError{ReasonSyntax, i, fmt.Sprintf("%q where %s is expected", b[i:i+1], want)}
}
