package yamlfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxBytes is the size of the largest file that is read: 1 MiB.
const MaxBytes = 1 << 20

// A File is a file that has been parsed. It never changes and is safe for concurrent use.
type File struct {
	lines []string
	root  ast.Node // nil for an empty file
}

// Read parses a file. The errors of it and of File's methods are of type [*Error].
//
// The file has to be one document in UTF-8 whose top level is a mapping, or empty. Of YAML it may not use anchors and
// aliases, merge keys, tags, directives and "? " keys: a configuration has no need of them, and they are where a small
// file can expand into a large one and where readers of YAML disagree. It is limited in size (MaxBytes), in the number
// of its tokens and in the depth of its nesting. A key that appears twice is refused.
func Read(b []byte) (f *File, err error) {
	f = &File{}
	if len(b) > MaxBytes {
		return nil, f.at(0, 0, fmt.Sprintf("the file has %d bytes, at most %d are read", len(b), MaxBytes), "")
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	f.lines = strings.Split(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), "\n")
	for i, line := range f.lines {
		if !utf8.ValidString(line) {
			good := strings.ToValidUTF8(line, "\ufffd")
			f.lines[i] = good
			return nil, f.at(i+1, strings.IndexRune(good, utf8.RuneError)+1, "this is not UTF-8", "save the file as UTF-8")
		}
	}
	defer f.contain(&err)
	if err := f.checkTokens(text); err != nil {
		return nil, err
	}
	parsed, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, f.translate(err, nil)
	}
	return f, f.setRoot(parsed)
}

// setRoot takes the file's one document.
func (f *File) setRoot(parsed *ast.File) error {
	for _, doc := range parsed.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode:
		case *ast.MappingNode, *ast.MappingValueNode:
			if f.root != nil {
				return f.atToken(first(body), "this is a second document", "keep one, without --- in between")
			}
			f.root = body
		default:
			return f.atToken(body.GetToken(), "the file has to consist of keys and values",
				"write it like rules: at the beginning of a line")
		}
	}
	return nil
}

// Decode stores the file's contents in what into points to, as goccy/go-yaml does with its option Strict: by `yaml` tags,
// a key without a field being an error. What an empty file is decoded into is left as it is.
func (f *File) Decode(into any) (err error) {
	if f.root == nil {
		return nil
	}
	defer f.contain(&err)
	var none bytes.Buffer
	if err := yaml.NewDecoder(&none, yaml.Strict()).DecodeFromNode(f.root, into); err != nil {
		return f.translate(err, into)
	}
	return nil
}

// contain makes an error of a panic in the library: a bad file is refused, and never ends the program.
func (f *File) contain(err *error) {
	if v := recover(); v != nil {
		*err = f.at(0, 0, fmt.Sprintf("the YAML cannot be read (%v)", v), "simplify the file, or report this with the file")
	}
}
