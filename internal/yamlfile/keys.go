package yamlfile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// unknownKey makes the error about a key that the type it is decoded into has no field for.
func (f *File) unknownKey(key *token.Token, into any) error {
	path, found := pathOf(f.root, key, nil)
	var known []string
	if found {
		known = keys(typeAt(reflect.TypeOf(into), path))
	}
	remedy := "remove it"
	if len(known) > 0 {
		remedy = "known here: " + strings.Join(known, ", ")
	}
	if near := nearest(key.Value, known); near != "" {
		remedy = fmt.Sprintf("did you mean %s? %s", near, remedy)
	}
	return f.atToken(key, fmt.Sprintf("the key %.40q is unknown", key.Value), remedy)
}

// pathOf returns where the mapping is that has the key.
func pathOf(node ast.Node, key *token.Token, at []any) (path []any, found bool) {
	for _, pair := range pairs(node) {
		if pair.Key.GetToken() == key {
			return at, true
		}
		if path, found := pathOf(pair.Value, key, append(slices.Clip(at), pair.Key.GetToken().Value)); found {
			return path, true
		}
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			if path, found := pathOf(item, key, append(slices.Clip(at), i)); found {
				return path, true
			}
		}
	}
	return nil, false
}

// typeAt returns the type of the value at path in a value of type t, or nil.
func typeAt(t reflect.Type, path []any) reflect.Type {
	for _, step := range path {
		t = indirect(t)
		switch name, isKey := step.(string); {
		case t == nil:
			return nil
		case isKey && t.Kind() == reflect.Struct:
			t = fields(t)[name]
		case isKey && t.Kind() == reflect.Map, !isKey && t.Kind() == reflect.Slice:
			t = t.Elem()
		default:
			return nil
		}
	}
	return indirect(t)
}

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fields returns the types of a struct's fields by their keys in YAML.
func fields(t reflect.Type) map[string]reflect.Type {
	byKey := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch inner := indirect(field.Type); {
		case strings.Contains(options, "inline") && inner.Kind() == reflect.Struct:
			for k, v := range fields(inner) {
				byKey[k] = v
			}
		case name == "-" || !field.IsExported():
		case name == "":
			byKey[strings.ToLower(field.Name)] = field.Type
		default:
			byKey[name] = field.Type
		}
	}
	return byKey
}

// keys returns the keys that a struct has fields for, sorted.
func keys(t reflect.Type) []string {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for k := range fields(t) {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// nearest returns the known key that key is a misspelling of: at most two edits away, and fewer than its length.
func nearest(key string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(key, k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two words, or a large number where one is very long.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// kindName says in the words of YAML what a type is written as.
func kindName(t reflect.Type) string {
	switch t = indirect(t); {
	case t == nil:
		return "something else"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "a list"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "a mapping, written as key: value"
	default:
		return "a number"
	}
}
