package arch

import (
	"slices"
	"strings"
	"testing"
)

// A sample is a small repository and what a rule finds in it.
type sample struct {
	what  string
	files map[string]string
	links []Package
	finds []string // places, each with a part of its text after a space; none for a good example
}

// at joins parts that would break a rule if they stood in this file as one.
func at(parts ...string) string { return strings.Join(parts, "") }

const contractFile = "schema/testdata/golden/role.assigned.json"

// samples has, for each rule, repositories that break it and repositories that look as if they did.
var samples = map[string][]sample{
	"imports point in one direction": {
		{"schema imports the bus", files("schema/a.go", `package schema; import "github.com/eventbus-go/eventbus/bus"`), nil,
			[]string{"schema/a.go:1 schema imports bus"}},
		{"a driver imports another one", files("brokers/redis/a.go", `package redis
import _ "github.com/eventbus-go/eventbus/brokers/memory"`), nil, []string{"brokers/redis/a.go:2 brokers/memory"}},
		{"the bus imports a driver", files("bus/a.go", `package bus; import _ "github.com/eventbus-go/eventbus/brokers/redis"`), nil,
			[]string{"bus/a.go:1 bus imports brokers/redis"}},
		{"an example imports what users cannot", files("examples/x/main.go",
			`package main; import _ "github.com/eventbus-go/eventbus/internal/pattern"`), nil,
			[]string{"examples/x/main.go:1 internal/pattern"}},
		{"a package without a layer", files("util/a.go", `package util`), nil, []string{"util/a.go add it to the table"}},
		{"tests may use the drivers and the servers", files("bus/a_test.go", `package bus_test; import (
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	_ "github.com/eventbus-go/eventbus/internal/testbroker"
	_ "github.com/eventbus-go/eventbus/bus"
)`), nil, nil},
		{"the bus imports what is below it", files("bus/a.go", `package bus; import (
	_ "github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/router/middleware"
	_ "net/http"
)`), nil, nil},
	},
	"a package links what the table says and nothing else": {
		{"a client library in the bus", nil, []Package{{"bus", append(slices.Clone(busLinks), goRedis)}},
			[]string{"bus it links " + goRedis}},
		{"a package that is not listed", nil, []Package{{"store", nil}}, []string{"store not in the table"}},
		{"a dependency that is gone", nil, []Package{{"schema", []string{uuid}}}, []string{"schema it does not any more"}},
		{"what the table says", nil, []Package{{"schema", schemaLinks}, {"brokers", nil}}, nil},
	},
	"every package opens with what it is for": {
		{"no comment", files("a/a.go", "package a\n"), nil, []string{"a has no package comment"}},
		{"a single line", files("a/a.go", "// Package a is a.\npackage a\n"), nil, []string{"a is a single line"}},
		{"another opening", files("a/a.go", "// This is a.\n// It is.\npackage a\n"), nil,
			[]string{`a does not open with "Package a"`}},
		{"two comments", files("a/a.go", "// Package a is a.\n//\n// Yes.\npackage a\n",
			"a/b.go", "// Package a is b.\npackage a\n"), nil,
			[]string{"a in several files"}},
		{"a program opens with its name", files("a/a.go", "// A does this.\n// And that.\npackage main\n"), nil, nil},
		{"tests need none", files("a/a_test.go", "package a\n"), nil, nil},
	},
	"every exported identifier has a doc comment": {
		{"all kinds", files("a/a.go", `package a

func F() {}
type T struct{}
func (t *T) M() {}
type G[P any] struct{}
func (g *G[P]) N() {}
const C = 1
var (
	V, w = 1, 2
)
// I is documented, its method is not.
type I interface {
	Do()
}
`), nil, []string{"a/a.go:3 F is", "a/a.go:4 T is", "a/a.go:5 M is", "a/a.go:6 G is", "a/a.go:7 N is",
			"a/a.go:8 C is", "a/a.go:10 V is", "a/a.go:14 Do is"}},
		{"what nobody can see", files("a/a.go", `package a

func f() {}
type t[P any] struct{}
func (x *t[P]) M() {}
`, "internal/b/b.go", "package b\nfunc F() {}\n", "c/main.go", "package main\nfunc F() {}\n",
			"a/a_test.go", "package a\nfunc F() {}\n"), nil, nil},
		{"a comment for a group, and one beside", files("a/a.go", `package a

// The answers.
const (
	A = 1
	B = 2
)

var (
	V = 1 // the first
)
`), nil, nil},
	},
	"documents name what exists": {
		{"what is gone", files("docs/a.md", "See `bus/gone.go`, `brokers/nats` and [this](b.md#top). Run `make gone`.\n",
			"bus/here.go", "package bus\n"), nil,
			[]string{"docs/a.md bus/gone.go", "docs/a.md brokers/nats", "docs/a.md b.md", "docs/a.md make gone"}},
		{"what is there", files("docs/a.md", "See `bus/here.go`, `bus`, `./examples/x` and [this](../README.md#top), and\n"+
			"[that](https://example.com). `make test` makes sure. We\nmake do.\n\n    make test\n", "README.md", "",
			"bus/here.go", "package bus\n", "examples/x/main.go", "package main\n", "Makefile", "test: ## it\n\tgo test\n"), nil, nil},
	},
	"a driver's goroutine contains its panics": {
		{"a go statement, and a group's", files("brokers/x/a.go", `package x

func f() {
	go g()
	var w sync.WaitGroup
	w.Go(func() { g() })
}
`), nil, []string{"brokers/x/a.go:4 f starts one", "brokers/x/a.go:6 f starts one"}},
		{"what contains, what is listed, and who is no driver", files("brokers/x/a.go", `package x

func f() {
	go func() { done <- brokers.Contain(g) }()
}
`, "brokers/redis/stream_leave.go", "package redis\nfunc (m *member) moment() { go g() }\n", "brokers/a.go", "package brokers\nfunc f() { go g() }\n",
			"brokers/x/a_test.go", "package x\nfunc f() { go g() }\n"), nil, nil},
	},
	"library code does not sleep": {
		{"it sleeps", files("bus/a.go", "package bus\nimport t \"time\"\nfunc f() { t.Sleep(1) }\n"), nil,
			[]string{"bus/a.go:3 time.Sleep"}},
		{"tests and examples may", files("bus/a_test.go", "package bus\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
			"examples/a/a.go", "package main\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"), nil, nil},
		{"another Sleep", files("bus/a.go", "package bus\nfunc f(time clock) { time.Sleep(1) }\n"), nil, nil},
	},
	"library code owns no context": {
		{"it makes its own", files("internal/pattern/a.go", `package pattern
import "context"
var a = context.Background()
var b = context.TODO
var c = context.WithoutCancel(nil)
`), nil, []string{"internal/pattern/a.go:3 context.Background", "internal/pattern/a.go:4 context.TODO"}},
		{"tests have one", files("bus/a_test.go", "package bus\nimport \"context\"\nvar a = context.Background()\n"), nil, nil},
	},
	"a file holds one concept": {
		{"too long", files("bus/a.go", "package bus\n"+strings.Repeat("\n", maxLines)), nil,
			[]string{"bus/a.go it has 451 lines"}},
		{"just right, and a long test", files("bus/a.go", "package bus\n"+strings.Repeat("\n", maxLines-1),
			"bus/a_test.go", "package bus\n"+strings.Repeat("\n", 2*maxLines)), nil, nil},
	},
	"unsafe is used in files that are listed, with the reason": {
		{"it is not listed", files("bus/a.go", "package bus\nimport _ \"unsafe\"\n"), nil, []string{"bus/a.go:2 unsafe"}},
		{"it is listed", files("brokers/redis/session.go", "package redis\nimport _ \"unsafe\"\n"), nil, nil},
	},
	"a skipped test says why": {
		{"no reason, and one that nobody sorts", files("bus/a_test.go", `package bus
func TestA(t *testing.T) { t.SkipNow() }
func TestB(t *testing.T) { t.Skip() }
func TestC(t *testing.T) { t.Skipf("flaky: %v", x) }
func TestD(t *testing.T) { t.Skip(reason) }
`), nil, []string{"bus/a_test.go:2", "bus/a_test.go:3", "bus/a_test.go:4", "bus/a_test.go:5"}},
		{"a reason", files("bus/a_test.go", `package bus
func TestA(t *testing.T) { t.Skip("needs redis-server, which is not installed") }
func TestB(t *testing.T) { t.Skipf("only on %s", "Linux") }
`), nil, nil},
	},
	"the golden files are those of the contract": {
		{"a changed one", files(contractFile, "{}\n"), nil,
			[]string{contractFile + " not those of the contract", "testdata/golden/mfa.enabled.json in no folder",
				"testdata/golden/user.registered.json in no folder"}},
	},
	"nothing is left to be done in a comment": {
		{"a note", files("bus/a.go", "package bus\n\n// f is slow. "+at("TO", "DO")+": make it fast.\nfunc f() {}\n"), nil,
			[]string{"bus/a.go:3 it says " + at("TO", "DO")}},
		{"a word in code", files("bus/a.go", "package bus\n\nvar _ = context.TODO\nvar s = \"FIXME\"\n"), nil, nil},
	},
	"no path or registry of somebody's machine is in the repository": {
		{"a path", files("docs/a.md", "see\n"+at("/wo", "rk/main")+"\n", "scripts/a.sh", "cd "+at("/ho", "me/me/x")+"\n"), nil,
			[]string{"docs/a.md:2", "scripts/a.sh:1"}},
		{"a registry", files("package-lock.json", `"resolved": "https://`+at("registry.n", "pmjs.org")+`/redis"`), nil,
			[]string{"package-lock.json:1"}},
		{"addresses", files("README.md", "https://example.com"+at("/ho", "me/")+" net"+at("wo", "rk/x")+" $TMP"+
			at("/wo", "rk/")+"\n"), nil, nil},
		{"a picture", files("docs/a.png", "\x00"+at("/ho", "me/me")), nil, nil},
	},
	"go.mod replaces nothing": {
		{"one line and a block", files("go.mod", "module m\nreplace a => b v1.0.0\nreplace (\n\tc v1.0.0 => ../c\n)\n"), nil,
			[]string{"go.mod:2", "go.mod:3", "go.mod:4"}},
		{"a module of that name", files("go.mod", "module m\nrequire example.com/replace v1.0.0 // indirect\n"), nil, nil},
	},
	"go.mod tells direct dependencies from indirect ones": {
		{"both ways", files("go.mod", "module m\nrequire (\n\texample.com/a v1.0.0 // indirect\n\texample.com/b v1.0.0\n)\n",
			"bus/a.go", "package bus\nimport _ \"example.com/a/sub\"\n"), nil,
			[]string{"go.mod example.com/a is imported and marked", "go.mod example.com/b is not imported"}},
		{"as tidy leaves it", files("go.mod", "module m\nrequire example.com/a v1.0.0\n"+
			"require example.com/a/b v1.0.0 // indirect\n",
			"bus/a_test.go", "package bus\nimport _ \"example.com/a\"\n"), nil, nil},
	},
}

func files(pathsAndTexts ...string) map[string]string {
	out := make(map[string]string)
	for i := 0; i < len(pathsAndTexts); i += 2 {
		out[pathsAndTexts[i]] = pathsAndTexts[i+1]
	}
	return out
}

func (s sample) repo(t *testing.T) *Repo {
	t.Helper()
	r := &Repo{Packages: s.links}
	for name, text := range s.files {
		f, err := NewFile(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
		r.Files = append(r.Files, f)
	}
	slices.SortFunc(r.Files, func(a, b *File) int { return strings.Compare(a.Path, b.Path) })
	return r
}

func TestEachRuleFindsWhatBreaksItAndNothingElse(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			canFail := false
			for _, s := range samples[rule.Name] {
				compare(t, s, rule.Check(s.repo(t)))
				canFail = canFail || len(s.finds) > 0
			}
			if !canFail {
				t.Error("there is no example that breaks this rule: nobody knows whether it can fail")
			}
		})
	}
}

func compare(t *testing.T, s sample, got []Finding) {
	t.Helper()
	if len(got) != len(s.finds) {
		t.Errorf("%s: found %v, want %q", s.what, got, s.finds)
		return
	}
	for _, want := range s.finds {
		place, text, _ := strings.Cut(want, " ")
		if !slices.ContainsFunc(got, func(f Finding) bool { return f.Place == place && strings.Contains(f.Text, text) }) {
			t.Errorf("%s: found %v, which lacks %q", s.what, got, want)
		}
	}
}

func TestEverySampleBelongsToARule(t *testing.T) {
	for name := range samples {
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Name == name }) {
			t.Errorf("there is no rule %q", name)
		}
	}
}

func TestAReportNamesTheRuleTheReasonTheRemedyAndThePlaces(t *testing.T) {
	r := Rule{Name: "the rule", Why: "the reason", Remedy: "the remedy"}
	report := r.Report([]Finding{{"a.go:1", "is bad"}, {"b.go:2", "is worse"}})
	for _, want := range []string{"the rule", "the reason", "the remedy", "a.go:1: is bad", "b.go:2: is worse"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if got := r.Report(nil); got != "" {
		t.Errorf("the report on nothing is %q", got)
	}
}

func TestWithoutGitTheFilesAreThoseOfTheFolder(t *testing.T) {
	withGit, err := list(root(t))
	if err != nil {
		t.Fatal(err)
	}
	walked, err := walk(root(t))
	if err != nil {
		t.Fatal(err)
	}
	const self = "internal/arch/repo.go"
	if !slices.Contains(withGit, self) || !slices.Contains(walked, self) {
		t.Errorf("%s is not among the %d files listed or the %d walked", self, len(withGit), len(walked))
	}
	for _, p := range walked {
		if strings.HasPrefix(p, ".git/") || strings.HasPrefix(p, ".cache/") {
			t.Fatalf("%s is not the repository's", p)
		}
	}
}
