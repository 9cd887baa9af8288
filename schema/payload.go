package schema

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"
)

// encodeOptions is how payloads and metadata values are written: encoding/json/v2 (duplicate keys are refused, a nil
// slice is [] and a nil map is {}), except that omitempty also leaves out false, 0 and nil as users of encoding/json
// expect, that the keys of maps are sorted, so that equal payloads are equal bytes, and that what is no UTF-8 in a
// string becomes U+FFFD. The last one matters where a string comes from outside: whoever signs in with the name "\xff"
// must not be able to make the event of the failed login unpublishable.
var encodeOptions = json.JoinOptions(
	v1.OmitEmptyWithLegacySemantics(true),
	json.Deterministic(true),
	jsontext.AllowInvalidUTF8(true),
)

// A PayloadError says why an event's data is not a payload of its type.
type PayloadError struct {
	Type  string // the type that was asked to decode
	Field string // where in the data, as a JSON pointer such as "/role_name"; empty for the data as a whole
	Err   error
}

// Error names the type and the field, and says what is wrong.
func (e *PayloadError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("schema: payload of %s: %v", e.Type, e.Err)
	}
	return fmt.Sprintf("schema: payload of %s: field %s: %v", e.Type, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *PayloadError) Unwrap() error { return e.Err }

// marshalGuarded returns value as JSON, by encodeOptions.
func marshalGuarded(value any) (text []byte, err error) {
	defer catchPanic(&err)
	return json.Marshal(value, encodeOptions)
}

// unmarshalGuarded reads data into p, by the rules of encoding/json/v2.
func unmarshalGuarded(data []byte, p any) (err error) {
	defer catchPanic(&err)
	return json.Unmarshal(data, p)
}

// A PanicError is a panic in a user's code that was called to encode or decode a payload: MarshalJSON, UnmarshalJSON or a
// function of a Definition. It is found by errors.As in what [Event.Validate] and [Type.Decode] return.
type PanicError struct {
	Value any
	// Stack is the stack of the goroutine at the panic, at most 16 KiB of it.
	Stack []byte
}

// Error returns the text of the value, cut short.
func (e *PanicError) Error() string {
	return "made a method or the definition panic: " + panicText(e.Value)
}

// catchPanic is deferred around everything that may call a user's code: MarshalJSON, Definition.Subject and the like.
func catchPanic(err *error) {
	if v := recover(); v != nil {
		stack := make([]byte, 16<<10)
		*err = &PanicError{Value: v, Stack: stack[:runtime.Stack(stack, false)]}
	}
}

// panicText is the text of a panic's value, cut short, since anything may be in it. Printing it may call a user's code
// once more, but package fmt contains panics of its own methods.
func panicText(v any) string {
	const most = 200
	text := fmt.Sprint(v)
	return text[:min(len(text), most)]
}

// pointerOf returns where in the JSON an error of the codec lies.
func pointerOf(err error) string {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return string(semantic.JSONPointer)
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return string(syntactic.JSONPointer)
	}
	return ""
}
