package yamlfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// An Error says what is wrong in a file, where, and what to do about it.
type Error struct {
	Line    int    // from 1; 0 where it is about the file as a whole
	Column  int    // from 1, in characters
	Problem string // what is wrong
	Remedy  string // what to do; empty where the problem says it
	Excerpt string // the line and a caret below it; without what could be a password
	Err     error  // what found it out; may be nil
}

// Error returns the place, the problem and the remedy in one line, and the excerpt below.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	b.WriteString(e.Problem)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	if e.Excerpt != "" {
		b.WriteString("\n" + e.Excerpt)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// at makes an error about a place in the text.
func (f *File) at(line, column int, problem, remedy string) *Error {
	e := &Error{Problem: hide(oneLine(problem)), Remedy: remedy}
	if line < 1 || line > len(f.lines) {
		return e
	}
	e.Line, e.Column = line, min(max(column, 1), len([]rune(f.lines[line-1]))+1)
	e.Excerpt = excerpt(f.lines[line-1], e.Line, e.Column)
	return e
}

// atToken makes an error about a token, which may be nil.
func (f *File) atToken(t *token.Token, problem, remedy string) *Error {
	if t == nil || t.Position == nil {
		return f.at(0, 0, problem, remedy)
	}
	return f.at(t.Position.Line, t.Position.Column, problem, remedy)
}

// excerptWidth is how much of a long line an excerpt shows, in characters.
const excerptWidth = 100

// excerpt shows a line, or the part of it around the column, and a caret below the column.
func excerpt(line string, number, column int) string {
	runes := []rune(printable(hide(line)))
	from := max(0, min(column-1-excerptWidth/2, len(runes)-excerptWidth))
	to := min(len(runes), from+excerptWidth)
	gutter := fmt.Sprintf("%5d | ", number)
	return gutter + strings.TrimRight(string(runes[from:to]), " ") + "\n" +
		strings.Repeat(" ", len(gutter)-2) + "| " + strings.Repeat(" ", column-1-from) + "^"
}

// printable replaces what would move the caret or the terminal, one character by one.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c) || unicode.In(c, unicode.Mn, unicode.Me):
			return '?'
		}
		return c
	}, s)
}

// secrets finds what may be credentials: whatever stands before the last @ of something like a URL, and the values of
// keys that name a secret.
var secrets = regexp.MustCompile(`://.*@|(?i:(?:passw(?:or)?d|secret|token|api_?key)\w*["']?\s*[:=]\s*\S.*)`)

// hide replaces credentials by as many asterisks, so that what stands behind them stays in its column.
func hide(s string) string {
	return secrets.ReplaceAllStringFunc(s, func(m string) string {
		keep := len("://")
		if !strings.HasPrefix(m, "://") {
			keep = strings.IndexAny(m, ":=") + 1
		}
		return m[:keep] + strings.Repeat("*", len([]rune(m[keep:])))
	})
}

func oneLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return printable(strings.ReplaceAll(line, "\t", `\t`))
}

// translate turns an error of the library into one of ours. into is what was decoded into; nil while parsing.
func (f *File) translate(err error, into any) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	var v *valueError
	if errors.As(err, &v) {
		e := f.atToken(v.token, v.err.Error(), "")
		e.Err = v.err
		return e
	}
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		return f.unknownKey(unknown.Token, into)
	}
	var wrongType *yaml.TypeError
	if errors.As(err, &wrongType) {
		return f.atToken(wrongType.Token, "this has to be "+kindName(wrongType.DstType), "")
	}
	var node *yaml.UnexpectedNodeTypeError
	if errors.As(err, &node) {
		return f.atToken(node.Token, fmt.Sprintf("this has to be %s, it is %s", nodeName(node.Expected),
			nodeName(node.Actual)), "")
	}
	var other yaml.Error
	if errors.As(err, &other) {
		return f.atToken(other.GetToken(), other.GetMessage(), remedy(other.GetMessage()))
	}
	return f.at(0, 0, err.Error(), "")
}

// remedy says what to do about a message of the library that does not say so itself.
func remedy(message string) string {
	switch {
	case strings.Contains(message, "character '\t'"):
		return "indent with spaces, not with tabs"
	case strings.Contains(message, "already defined"):
		return "remove one of them"
	}
	return ""
}

// nodeName says in the words of a newcomer what a node is.
func nodeName(t ast.NodeType) string {
	switch t {
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping, written as key: value"
	case ast.StringType, ast.LiteralType:
		return "a text"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.NullType:
		return "empty"
	default:
		return t.YAMLName()
	}
}
