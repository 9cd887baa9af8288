package yamlfile

import (
	"errors"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A valueError is the error of a value at its place. It is one that the library knows too, so that a decoder other than
// File.Decode reports the position as well.
type valueError struct {
	yaml.SyntaxError
	token *token.Token
	err   error
}

func newValueError(t *token.Token, err error) *valueError {
	return &valueError{yaml.SyntaxError{Message: err.Error(), Token: t}, t, err}
}

// Unwrap returns what is wrong with the value.
func (e *valueError) Unwrap() error { return e.err }

// Texts is for a method UnmarshalYAML(unmarshal func(any) error) error of a list that may be written as a single value
// too: it calls add for each value, in order, with its text. An error of add is reported with the value's position; it
// has to name the remedy.
func Texts(unmarshal func(any) error, add func(text string) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return addText(node, "this has to be a text or a list of texts", add)
	}
	for _, item := range list.Values {
		if err := addText(item, "this has to be a text", add); err != nil {
			return err
		}
	}
	return nil
}

// Text is Texts for a single value: a list is refused.
func Text(unmarshal func(any) error, set func(text string) error) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	return addText(node, "this has to be a text", set)
}

// TextOr is for a method UnmarshalYAML of a value that is written as a text in short: it calls set with the text, or
// decodes what is written in full into what into points to.
func TextOr(unmarshal func(any) error, set func(text string) error, into any) error {
	var node ast.Node
	if err := unmarshal(&node); err != nil {
		return err
	}
	if len(pairs(node)) > 0 {
		return unmarshal(into)
	}
	if _, empty := node.(*ast.MappingNode); empty {
		return nil
	}
	return addText(node, "this has to be a text or a mapping, written as key: value", set)
}

func addText(node ast.Node, otherwise string, add func(string) error) error {
	var text string
	switch node := node.(type) {
	case *ast.StringNode:
		text = node.Value
	case *ast.LiteralNode:
		return newValueError(first(node), errors.New(`| and > begin a block of text; if the sign is meant, put it in quotes: ">"`))
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = node.GetToken().Value
	default:
		return newValueError(first(node), errors.New(otherwise))
	}
	if err := add(text); err != nil {
		return newValueError(first(node), err)
	}
	return nil
}
