package schema

import (
	"fmt"
	"reflect"
	"sync"
)

// A Definition says what an event type is: its name, and what of the envelope follows from its payload T.
type Definition[T any] struct {
	// Type is the name, such as "order.placed": tokens of a-z, 0-9, _ and - separated by dots. Required.
	Type string
	// Priority is the default, which any event may override. The zero value is Normal.
	Priority Priority
	// Subject says what it happened to, usually by [Ref]; nil, or "", means nothing. It is called for each event, maybe
	// concurrently.
	Subject func(T) string
	// Resource says what it concerns, like Subject.
	Resource func(T) string
	// Key says what the events are ordered by; nil, or "", means the subject. See [Event.Key].
	Key func(T) string
}

// A Type makes and reads the events of one type, whose payload is a T. It is safe for concurrent use.
//
// Payloads are written by the rules of encoding/json/v2: keys are case-sensitive, a nil slice is [] and a nil map is
// {}, the keys of maps are sorted. omitempty leaves out false, 0 and nil too, as it does in encoding/json. What is not
// UTF-8 in a string is replaced by U+FFFD.
type Type[T any] struct {
	def       Definition[T]
	source    string
	forbidden *Forbidden // to look for in each payload; nil where the definition tells all keys
	dynamic   bool       // T does not tell all keys and the depth: a map, an interface, methods of its own
	encoders  sync.Pool  // of *payloadEncoder[T]
}

// Define adds a type to a catalogue. It refuses a name that is no name or is taken, a T whose JSON is not an object,
// and fields anywhere in T whose JSON names the catalogue forbids; each error says where, and the remedy.
func Define[T any](c *Catalogue, d Definition[T]) (*Type[T], error) {
	goType := reflect.TypeFor[T]()
	info := TypeInfo{Name: d.Type, Source: c.source, Priority: d.Priority, Payload: goType.String()}
	if err := c.check(info); err != nil {
		return nil, err
	}
	dynamic, err := inspect(goType, c.forbidden)
	if err != nil {
		return nil, fmt.Errorf("schema: type %q: the payload %s %w", d.Type, goType, err)
	}
	if err := c.add(info); err != nil {
		return nil, err
	}
	t := &Type[T]{def: d, source: c.source, dynamic: dynamic}
	if dynamic {
		t.forbidden = c.forbidden
	}
	t.encoders.New = func() any { return newPayloadEncoder[T]() }
	return t, nil
}

// MustDefine is [Define] for variables of a package: it panics where Define returns an error.
func MustDefine[T any](c *Catalogue, d Definition[T]) *Type[T] {
	t, err := Define(c, d)
	if err != nil {
		panic(err)
	}
	return t
}

// Name returns the type's name, such as "order.placed".
func (t *Type[T]) Name() string { return t.def.Type }

// Priority returns the type's default priority.
func (t *Type[T]) Priority() Priority { return t.def.Priority }

// Source returns the source of the type's catalogue.
func (t *Type[T]) Source() string { return t.source }

// Is reports whether e is of this type.
func (t *Type[T]) Is(e Event) bool { return e.Type == t.def.Type }

// New makes an event of p, which is encoded at once, so that p may be changed afterwards. ID and Time stay empty: they
// are filled in when the event is published.
//
// New does not fail: what is wrong with p (a value without JSON, a forbidden key in a map, a panic in one of its
// methods) is kept in the event, and is reported by [Event.Validate], so by the bus when the event is published.
func (t *Type[T]) New(p T) Event {
	e := Event{Type: t.def.Type, Source: t.source, Priority: t.def.Priority}
	if err := t.fill(&e, p); err != nil {
		e.err = &FieldError{Type: t.def.Type, Field: "data", Problem: err.Error(), err: err}
	}
	return e
}

// fill sets what follows from the payload.
func (t *Type[T]) fill(e *Event, p T) (err error) {
	defer catchPanic(&err)
	data, err := t.encode(p)
	if err != nil {
		return fmt.Errorf("cannot be encoded: %w", err)
	}
	if t.dynamic {
		if err := t.checkDynamic(data); err != nil {
			return err
		}
	}
	e.setData(data)
	if t.def.Subject != nil {
		e.Subject = t.def.Subject(p)
	}
	if t.def.Resource != nil {
		e.Resource = t.def.Resource(p)
	}
	if t.def.Key != nil {
		e.key = t.def.Key(p)
	}
	return nil
}

// encode returns p as JSON. An encoder whose use panicked does not come back into the pool.
func (t *Type[T]) encode(p T) ([]byte, error) {
	enc := t.encoders.Get().(*payloadEncoder[T])
	data, err := enc.encode(p)
	if err == nil && enc.small() {
		t.encoders.Put(enc)
	}
	return data, err
}

// checkDynamic checks what T could not promise when it was defined.
func (t *Type[T]) checkDynamic(data []byte) error {
	if data[0] != '{' {
		return fmt.Errorf("is %s, it has to be an object", kindOf(data[0]))
	}
	if _, fault := skipValue(data, 0, dataDepth, nil); fault != nil {
		return fmt.Errorf("cannot be published: at byte %d: %s", fault.Offset, fault.Msg)
	}
	if word, key, found := t.forbidden.findIn(data); found {
		return fmt.Errorf("%s", forbiddenProblem(key, word))
	}
	return nil
}

// Decode returns the payload of e. Its error is a *PayloadError: e is of another type, or its data does not fit T. Keys
// that T does not have are ignored, a key twice is refused.
func (t *Type[T]) Decode(e Event) (p T, err error) {
	if e.Type != t.def.Type {
		return p, &PayloadError{Type: t.def.Type, Err: fmt.Errorf("the event is of type %.200q", e.Type)}
	}
	if len(e.Data) == 0 {
		return p, nil
	}
	if err := unmarshalGuarded(e.Data, &p); err != nil {
		var zero T
		return zero, &PayloadError{Type: t.def.Type, Field: pointerOf(err), Err: err}
	}
	return p, nil
}
