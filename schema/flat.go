package schema

import (
	"reflect"
	"strconv"
)

// Most payloads are a struct of a few numbers and strings. Those are written here, in a third of the time that the
// codec takes; FuzzFlatPayloads holds both to the same bytes. Whatever else a payload may contain is the codec's.

// A flatField is one field of a struct that is encoded again and again at the same address.
type flatField struct {
	name      string // `"name":`
	value     any    // a pointer to the field: *string, *bool, *int, *int64, *uint64, *int32 or *[]string
	omitEmpty bool
}

// flatFields returns the fields of the struct that p points to, or nil where it is no struct, has methods of its own,
// or has a field or a tag that is not as simple as it has to be here.
func flatFields(p reflect.Value) []flatField {
	t := p.Type().Elem()
	if t.Kind() != reflect.Struct || implementsAny(t, jsonInterfaces) || implementsAny(t, textInterfaces) {
		return nil
	}
	fields := make([]flatField, 0, t.NumField())
	for i := range t.NumField() {
		field := t.Field(i)
		name, options := cutName(field.Tag.Get("json"))
		if field.Anonymous || !field.IsExported() || name == "" || name == "-" || skipPlain(name, 0) < len(name) {
			return nil
		}
		if options != "" && options != "omitempty" {
			return nil
		}
		f := flatField{`"` + name + `":`, p.Elem().Field(i).Addr().Interface(), options != ""}
		if !f.simple() {
			return nil
		}
		fields = append(fields, f)
	}
	return fields
}

func (f *flatField) simple() bool {
	switch f.value.(type) {
	case *string, *bool, *int, *int64, *uint64, *int32, *[]string:
		return true
	}
	return false
}

// appendFlat appends the struct as an object; ok is false where a string is not UTF-8, which is the codec's to repair.
func appendFlat(dst []byte, fields []flatField) (_ []byte, ok bool) {
	dst = append(dst, '{')
	for i := range fields {
		f := &fields[i]
		if f.omitEmpty && f.empty() {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, f.name...)
		if dst, ok = f.append(dst); !ok {
			return nil, false
		}
	}
	return append(dst, '}'), true
}

func (f *flatField) empty() bool {
	switch p := f.value.(type) {
	case *string:
		return *p == ""
	case *bool:
		return !*p
	case *int:
		return *p == 0
	case *int64:
		return *p == 0
	case *uint64:
		return *p == 0
	case *int32:
		return *p == 0
	case *[]string:
		return len(*p) == 0
	}
	return false
}

// append appends the field's value.
func (f *flatField) append(dst []byte) (_ []byte, ok bool) {
	switch p := f.value.(type) {
	case *string:
		return appendString(dst, *p)
	case *bool:
		return strconv.AppendBool(dst, *p), true
	case *int:
		return strconv.AppendInt(dst, int64(*p), 10), true
	case *int64:
		return strconv.AppendInt(dst, *p, 10), true
	case *uint64:
		return strconv.AppendUint(dst, *p, 10), true
	case *int32:
		return strconv.AppendInt(dst, int64(*p), 10), true
	case *[]string:
		return appendStrings(dst, *p)
	}
	return dst, false
}

func appendStrings(dst []byte, list []string) (_ []byte, ok bool) {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, ok = appendString(dst, s); !ok {
			return dst, false
		}
	}
	return append(dst, ']'), true
}
