package yamlfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/internal/yamlfile"
)

func repeat(s string, bytes int) string { return strings.Repeat(s, bytes/len(s)) }

func TestWhatIsLeftOutOrTooMuchIsRefusedInBoundedTime(t *testing.T) {
	const large = 1 << 17 // without the limits, "[" and keys take seconds at this size and grow with its square
	var keys, deep strings.Builder
	for i := 0; keys.Len() < large; i++ {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	for i := 0; deep.Len() < large; i++ {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for _, tt := range []struct{ name, yaml, want string }{
		{"size", repeat("x", yamlfile.MaxBytes+1), "1048577 bytes"},
		{"brackets", repeat("[", large), "nested more than 16 deep"},
		{"braces", repeat("{a: ", large), "nested more than 16 deep"},
		{"dashes", repeat("- ", large), "nested more than 16 deep"},
		{"keys", keys.String(), "too long"},
		{"the most keys that are read", keys.String()[:strings.Index(keys.String(), "k8000:")], "unknown"},
		{"deep mappings", deep.String(), "unknown"},
		{"items", "a:\n" + repeat("- b\n", large), "too long"},
		{"question marks", repeat("? ", large), "not supported"},
		{"anchors", repeat("&a ", large), "anchors are not supported"},
		{"an alias", "a: 1\nb: *a", "aliases are not supported"},
		{"a merge key", "a:\n  <<: {}", "merge keys are not supported"},
		{"a tag", "a: !!str b", "tags are not supported"},
		{"a directive", "%YAML 1.2\n---\na: b", "directives are not supported"},
		{"two documents", "a: b\n---\nc: d\n", "line 3, column 1: this is a second document"},
		{"a list at the top", "- a\n", "line 1, column 1: the file has to consist of keys and values"},
		{"bad UTF-8", "a: b\nb: \"x\xff\"\n", "line 2, column 6: this is not UTF-8; save the file as UTF-8"},
		{"a wrong escape", `a: "\q"`, "line 1"},
		{"an open quote", "a: \"" + repeat("x\n", large), "line 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			f, err := yamlfile.Read([]byte(tt.yaml))
			if err == nil {
				err = f.Decode(&struct{}{})
			}
			var e *yamlfile.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1000 {
				t.Errorf("got %.1000v, want %q", err, tt.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAnEmptyFileLeavesTheDefaults(t *testing.T) {
	for _, s := range []string{"", "\n", "# only a comment\n", "---\n", "--- # x\n", "\ufeff", "~"} {
		got := struct {
			A string `yaml:"a"`
		}{"default"}
		f, err := yamlfile.Read([]byte(s))
		if err == nil {
			err = f.Decode(&got)
		}
		if err != nil || got.A != "default" {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
}

func TestLinesMayEndInAnyWay(t *testing.T) {
	for _, end := range []string{"\n", "\r\n"} {
		_, err := yamlfile.Read([]byte("a: b" + end + end + "c: [x" + end))
		if err == nil || !strings.HasPrefix(err.Error(), "line 3, column 4: ") || strings.Contains(err.Error(), "\r") {
			t.Errorf("%q: got %q", end, err)
		}
	}
}

func TestAnExcerptShowsNoPassword(t *testing.T) {
	for line, want := range map[string]string{
		"x: redis://user:hunter2@host:6379":         "x: redis://*************host:6379",
		"x: redis://:p/w@x@host ":                   "x: redis://*******host",
		"x: amqp://u:hunter2@a, amqp://u:hunter2@b": "x: amqp://" + strings.Repeat("*", len("u:hunter2@a, amqp://u:hunter2@")) + "b",
		"password: hunter2":                         "password:********",
		"x_secret: 'hunter2'":                       "x_secret:**********",
		"api_key: hunter2 # y":                      "api_key:************",
		`"token": hunter2`:                          `"token":********`,
		"x: [password.*, token.*]":                  "x: [password.*, token.*]",
	} {
		f, err := yamlfile.Read([]byte(line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = f.Decode(&struct{}{})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "    1 | "+want+"\n") {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestALongLineIsShownAroundThePlace(t *testing.T) {
	line := "a: [" + strings.Repeat("é, ", 100) + "{}" + strings.Repeat(", é", 100) + "]"
	f, err := yamlfile.Read([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		A texts `yaml:"a"`
	}
	err = f.Decode(&into)
	var e *yamlfile.Error
	if !errors.As(err, &e) || e.Column != 305 {
		t.Fatalf("got %v", err)
	}
	lines := strings.Split(e.Excerpt, "\n")
	if shown := []rune(lines[0]); len(shown) > 110 || shown[strings.IndexByte(lines[1], '^')] != '{' {
		t.Errorf("the caret is not below the place:\n%s", e.Excerpt)
	}
}

type texts []string

func (x *texts) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Texts(unmarshal, func(s string) error { *x = append(*x, s); return nil })
}

var errOops = errors.New("oops")

func TestLocateFindsTheValueOrWhatEnclosesIt(t *testing.T) {
	f, err := yamlfile.Read([]byte("url: x\nlanes:\n  - name: a\n    size: 7\n  - {name: b}\none:\n  two: [1, 'abc']\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path         []any
		line, column int
	}{
		{[]any{"url"}, 1, 6},
		{[]any{"lanes", 0, "size"}, 4, 11},
		{[]any{"lanes", 0, "missing"}, 3, 5},
		{[]any{"lanes", 1}, 5, 6},
		{[]any{"lanes", 9}, 3, 3},
		{[]any{"one", "two", 1}, 7, 12},
		{[]any{"missing"}, 1, 1},
		{[]any{"url", "x", 1}, 1, 6},
	} {
		var e *yamlfile.Error
		err := f.Locate(errOops, tt.path...)
		if !errors.As(err, &e) || e.Line != tt.line || e.Column != tt.column || !errors.Is(err, errOops) {
			t.Errorf("%v: got %v, want line %d, column %d", tt.path, err, tt.line, tt.column)
		}
	}
	if err := f.Locate(nil, "url"); err != nil {
		t.Errorf("nil became %v", err)
	}
	if err := f.Locate(errOops); err != errOops {
		t.Errorf("an error that does not say where became %v", err)
	}
}

func TestAPanicWhileDecodingIsAnError(t *testing.T) {
	f, err := yamlfile.Read([]byte("a: b"))
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		A panics `yaml:"a"`
	}
	var e *yamlfile.Error
	if err := f.Decode(&into); !errors.As(err, &e) || !strings.Contains(err.Error(), "cannot be read (boom)") {
		t.Errorf("got %v", err)
	}
}

type panics struct{}

func (*panics) UnmarshalYAML(func(any) error) error { panic("boom") }
