package yamlfile

import (
	"errors"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A Located error knows which value of a configuration it is about.
type Located interface {
	error
	// Path returns the keys (string) and indexes (int) that lead to the value from the top.
	Path() []any
	// Offset returns which byte of the value is wrong, from 0.
	Offset() int
}

// Locate adds to err, which was found in what the file decoded to, the place in the file: that of the value at path, or
// of what encloses it where the file has none. Without a path, err says itself where, as a [Located]; another one is
// returned as it is, and nil is nil.
func (f *File) Locate(err error, path ...any) error {
	if err == nil {
		return nil
	}
	offset := 0
	if l := Located(nil); len(path) == 0 && errors.As(err, &l) {
		path, offset = l.Path(), l.Offset()
	} else if len(path) == 0 {
		return err
	}
	e := f.atToken(nil, err.Error(), "")
	if t := first(f.find(path)); t != nil {
		e = f.at(t.Position.Line, t.Position.Column+inside(t, offset), err.Error(), "")
	}
	e.Err = err
	return e
}

// find returns the node at path, or the last one on the way that there is.
func (f *File) find(path []any) ast.Node {
	node := f.root
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return node
}

func child(node ast.Node, step any) ast.Node {
	switch step := step.(type) {
	case string:
		for _, pair := range pairs(node) {
			if pair.Key.GetToken().Value == step {
				return pair.Value
			}
		}
	case int:
		if list, ok := node.(*ast.SequenceNode); ok && step < len(list.Values) {
			return list.Values[step]
		}
	}
	return nil
}

// pairs returns the keys and values of a mapping, which the library represents in two ways.
func pairs(node ast.Node) []*ast.MappingValueNode {
	switch node := node.(type) {
	case *ast.MappingNode:
		return node.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}
	}
	return nil
}

// first returns the token with which a node begins: for a mapping the first key, and not the colon.
func first(node ast.Node) *token.Token {
	if p := pairs(node); len(p) > 0 {
		return p[0].Key.GetToken()
	}
	if node == nil {
		return nil
	}
	return node.GetToken()
}

// inside says how many columns behind the beginning of a token its value has the byte at offset, as far as that is sure.
func inside(t *token.Token, offset int) int {
	if offset == 0 {
		return 0
	}
	for i := range offset {
		if i >= len(t.Value) || t.Value[i] <= ' ' || t.Value[i] > '~' || t.Value[i] == '\\' || t.Value[i] == '\'' {
			return 0
		}
	}
	switch t.Type {
	case token.StringType:
		return offset
	case token.SingleQuoteType, token.DoubleQuoteType:
		return offset + 1
	}
	return 0
}
