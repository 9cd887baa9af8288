package yamlfile

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// The limits keep the parser, whose time is quadratic in the number of keys of a mapping and in the depth of nesting, and
// which recurses, within about a second. Without them 1 MiB of keys takes 55 s, and 64 KiB of "[" or 1 MiB of "- " more
// stack than a goroutine may have, which no recover can catch. The lexer, which only counts here, is linear.
const (
	maxTokens = 1 << 15 // some 2,000 rules
	maxNested = 16      // brackets within brackets, or dashes on one line
)

// refused are the tokens of what the subset leaves out.
var refused = map[token.Type][2]string{
	token.AnchorType: {"anchors are not supported", "write the value out where it is needed"},
	token.AliasType: {
		"aliases are not supported", `write the value out; a value that begins with * needs quotes, as in "*.created"`,
	},
	token.MergeKeyType:   {"merge keys are not supported", "write the keys out"},
	token.TagType:        {"tags are not supported", "leave it out; a value that begins with ! needs quotes"},
	token.DirectiveType:  {"directives are not supported", "leave the line out; a value that begins with % needs quotes"},
	token.MappingKeyType: {`keys that begin with "? " are not supported`, "write key: value"},
}

// checkTokens refuses what the subset leaves out and what is beyond the limits, before the parser sees it.
func (f *File) checkTokens(text string) error {
	brackets, dashes, line, tokens := 0, 0, 0, 0
	for _, t := range lexer.Tokenize(text) {
		if what, ok := refused[t.Type]; ok {
			return f.atToken(t, what[0], what[1])
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType:
			dashes++
		case token.CommentType:
			tokens--
		}
		if tokens++; tokens > maxTokens {
			return f.atToken(t, fmt.Sprintf("the file is too long, at most %d words and signs are read", maxTokens), "")
		}
		if brackets > maxNested || dashes > maxNested {
			return f.atToken(t, fmt.Sprintf("this is nested more than %d deep", maxNested), "")
		}
	}
	return nil
}
