package schema

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// inspect checks what can be known of a payload before there is one: that it is a JSON object, and that no field in it
// is forbidden. dynamic says that its keys or its depth are not known before it is encoded. The error goes on after the
// type's name.
func inspect(t reflect.Type, f *Forbidden) (dynamic bool, err error) {
	in := inspector{forbidden: f, visited: make(map[reflect.Type]bool)}
	if err := in.walk(t, ""); err != nil {
		return false, err
	}
	if err := in.probe(t); err != nil {
		return false, err
	}
	// A type without cycles is no deeper than it has parts.
	return in.dynamic || len(in.visited) > MaxDepth/2 || t.Kind() == reflect.Pointer, nil
}

// An inspector walks over a type and everything in it.
type inspector struct {
	forbidden *Forbidden
	visited   map[reflect.Type]bool // true while the walk is inside of it
	dynamic   bool
	methods   bool // some part writes its JSON itself
}

var (
	timeType       = reflect.TypeFor[time.Time]()
	jsonInterfaces = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.MarshalerTo]()}
	textInterfaces = []reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextAppender]()}
)

// walk looks at t and what it is made of. path leads to it, for errors.
func (in *inspector) walk(t reflect.Type, path string) error {
	if inside, seen := in.visited[t]; seen {
		in.dynamic = in.dynamic || inside // a cycle: any depth
		return nil
	}
	in.visited[t] = true
	defer func() { in.visited[t] = false }()
	switch {
	case t == timeType:
		return nil
	case implementsAny(t, jsonInterfaces):
		in.methods, in.dynamic = true, true
		return nil
	case implementsAny(t, textInterfaces):
		in.methods = true
		return nil
	}
	return in.walkKind(t, path)
}

func (in *inspector) walkKind(t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return in.walk(t.Elem(), path)
	case reflect.Map:
		if in.dynamic = true; !isKey(t.Key()) {
			return fmt.Errorf("has %s of type %s, whose keys have no JSON: use strings or numbers", orItself(path), t)
		}
		return in.walk(t.Elem(), path)
	case reflect.Interface:
		in.dynamic = true
	case reflect.Struct:
		return in.walkStruct(t, path)
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("has %s of type %s, which has no JSON", orItself(path), t)
	}
	return nil
}

// isKey reports whether a map's keys may be of type t.
func isKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Array, reflect.Struct, reflect.Chan, reflect.Complex64, reflect.Complex128:
		return implementsAny(t, textInterfaces) || implementsAny(t, jsonInterfaces)
	}
	return true
}

func orItself(path string) string {
	if path == "" {
		return "a part"
	}
	return "the field " + path
}

func (in *inspector) walkStruct(t reflect.Type, path string) error {
	for i := range t.NumField() {
		field := t.Field(i)
		name, inlined, ok := jsonName(field)
		if !ok {
			continue
		}
		inner := path
		if !inlined {
			if entry, found := in.forbidden.Find(name); found {
				return fmt.Errorf("has the field %s, whose name %q stands for a %s: "+
					"secrets do not belong in events, leave it out", join(path, field.Name), name, entry)
			}
			inner = join(path, field.Name)
		}
		if err := in.walk(field.Type, inner); err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// jsonName returns what a field is called in JSON, by the rules of encoding/json/v2; inlined says that its members
// stand in its place, and ok is false for a field that is left out.
func jsonName(field reflect.StructField) (name string, inlined, ok bool) {
	tag := field.Tag.Get("json")
	if tag == "-" || !field.IsExported() && !field.Anonymous {
		return "", false, false
	}
	name, options := cutName(tag)
	for option := range strings.SplitSeq(options, ",") {
		if option == "embed" || option == "inline" {
			return "", true, true
		}
	}
	if name != "" {
		return name, false, true
	}
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return field.Name, field.Anonymous && t.Kind() == reflect.Struct, true
}

// cutName cuts a tag after the name, which may be in single quotes.
func cutName(tag string) (name, options string) {
	if !strings.HasPrefix(tag, "'") {
		name, options, _ = strings.Cut(tag, ",")
		return name, options
	}
	for end := 1; end < len(tag); end++ {
		switch tag[end] {
		case '\\':
			end++
		case '\'':
			return unquoteTag(tag[1:end]), tag[end+1:]
		}
	}
	return tag, "" // the probe refuses it
}

// unquoteTag reads what is inside single quotes as Go reads what is inside double quotes.
func unquoteTag(s string) string {
	s = strings.ReplaceAll(s, `\'`, `'`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	if text, err := strconv.Unquote(`"` + s + `"`); err == nil {
		return text
	}
	return s
}

// implementsAny reports whether t or a pointer to it implements one of the interfaces.
func implementsAny(t reflect.Type, interfaces []reflect.Type) bool {
	for _, i := range interfaces {
		if t.Implements(i) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// probe encodes a zero value, which finds what is wrong with the tags, and what is not an object.
func (in *inspector) probe(t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Interface {
		return errors.New("may be anything: it has to be a struct or a map, whose JSON is an object")
	}
	text, err := marshalGuarded(reflect.New(t).Interface())
	switch {
	case err != nil && in.methods:
		return nil // a method may well refuse the zero value
	case err != nil:
		return fmt.Errorf("has no JSON: %w", err)
	case text[0] != '{':
		return fmt.Errorf("is %s in JSON: it has to be an object, so put it in a field of a struct", kindOf(text[0]))
	}
	return nil
}
