package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options say what a run has to hold beside that no test fails.
type options struct {
	strict  bool     // something missing is a failure
	missing []string // what could not be had, in words
	expect  []string // brokers whose real server has to be recorded
	urls    []string // schemes whose promises have to be held on a real server
}

// A name is a test or subtest of a package, or the package itself where test is empty.
type name struct{ pkg, test string }

func (n name) String() string { return strings.TrimSpace(n.pkg + " " + n.test) }

// A report collects the events of one run.
type report struct {
	out  io.Writer
	opts options

	started time.Time
	output  map[name]*strings.Builder // of what is running
	since   map[name]time.Time        // what is running
	counts  map[string]*counts        // by package
	skips   []skip
	fails   []name
	errs    []error
	cases   map[target]*conformance
}

type counts struct{ passed, failed, skipped int }

type skip struct {
	name   name
	reason string
}

func newReport(out io.Writer, opts options) *report {
	return &report{
		out: out, opts: opts, started: time.Now(), output: make(map[name]*strings.Builder), since: make(map[name]time.Time),
		counts: make(map[string]*counts),
	}
}

// failed returns how many tests, packages and builds have failed so far.
func (r *report) failed() int { return len(r.fails) }

// trouble is an error of the run itself: it fails the run.
func (r *report) trouble(err error) { r.errs = append(r.errs, err) }

// add takes the next event. It reports whether it printed something.
func (r *report) add(e event) (printed bool) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
		return true
	case "run", "start":
		r.since[n] = time.Now()
	case "output":
		r.write(n, e.Output)
	case "pass", "skip", "fail":
		delete(r.since, n)
		if e.Test == "" {
			r.endPackage(e)
			return true
		}
		return r.endTest(n, e.Action)
	}
	return false
}

func (r *report) write(n name, text string) {
	b := r.output[n]
	if b == nil {
		b = new(strings.Builder)
		r.output[n] = b
	}
	b.WriteString(text)
}

// take returns what was printed under a name, and forgets it.
func (r *report) take(n name) string {
	b := r.output[n]
	delete(r.output, n)
	if b == nil {
		return ""
	}
	return b.String()
}

func (r *report) of(pkg string) *counts {
	c := r.counts[pkg]
	if c == nil {
		c = new(counts)
		r.counts[pkg] = c
	}
	return c
}

func (r *report) endTest(n name, action string) (printed bool) {
	out, c := r.take(n), r.of(n.pkg)
	switch action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		r.skips = append(r.skips, skip{n, skipReason(out)})
	case "fail":
		r.fail(n, out)
		return true
	}
	return false
}

// fail counts a failure and prints everything that was printed under its name.
func (r *report) fail(n name, out string) {
	r.of(n.pkg).failed++
	r.fails = append(r.fails, n)
	fmt.Fprintf(r.out, "--- FAIL %v\n%s", n, indent(withoutChatter(out)))
}

// endPackage prints the package's line. A package can fail although none of its tests did, by a race, an exit or a
// build; and a test that was running when its binary ended has failed.
func (r *report) endPackage(e event) {
	c, pkg := r.of(e.Package), name{pkg: e.Package}
	out := r.take(pkg)
	unfinished := r.unfinished(e.Package)
	for _, n := range unfinished {
		r.fail(n, r.take(n)+"did not finish: its test binary ended first\n")
	}
	switch {
	case e.Action == "fail" && (c.failed == 0 || len(unfinished) > 0):
		r.fail(pkg, out+builds(e.FailedBuild))
	case e.Action == "fail":
		fmt.Fprint(r.out, indent(strings.Join(warnings(out), "")))
	}
	if *c == (counts{}) {
		return
	}
	verdict := map[string]string{"pass": "ok", "skip": "ok", "fail": "FAIL"}[e.Action]
	fmt.Fprintf(r.out, "%-4s %-60s %6.1fs  %s\n", verdict, e.Package, e.Elapsed, c)
}

func (r *report) unfinished(pkg string) []name {
	var out []name
	for n := range r.since {
		if n.pkg == pkg && n.test != "" {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b name) int { return cmp.Compare(a.test, b.test) })
	for _, n := range out {
		delete(r.since, n)
	}
	return out
}

func builds(pkg string) string {
	if pkg == "" {
		return ""
	}
	return "it does not compile: see the compiler's output above\n"
}

// String counts the results of a package, leaving out what there are none of.
func (c *counts) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{c.passed, "passed"}, {c.failed, "failed"}, {c.skipped, "skipped"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// alive says what has been running for a while.
func (r *report) alive() {
	var longest []name
	for n := range r.since {
		if n.test != "" {
			longest = append(longest, n)
		}
	}
	slices.SortFunc(longest, func(a, b name) int { return r.since[a].Compare(r.since[b]) })
	fmt.Fprintf(r.out, "...  %v so far", time.Since(r.started).Round(time.Second))
	for _, n := range longest[:min(len(longest), 3)] {
		fmt.Fprintf(r.out, "; %s for %v", n.test, time.Since(r.since[n]).Round(time.Second))
	}
	fmt.Fprintln(r.out)
}

// chatter is what go test prints about a test beside what the test prints.
var chatter = []string{"=== ", "--- FAIL: ", "--- PASS: ", "--- SKIP: "}

func isChatter(line string) bool {
	line = strings.TrimLeft(line, " ")
	return slices.ContainsFunc(chatter, func(c string) bool { return strings.HasPrefix(line, c) })
}

func withoutChatter(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !isChatter(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// warnings returns the lines of a failed package that are not its usual ending.
func warnings(out string) []string {
	var rest []string
	for line := range strings.Lines(out) {
		first, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if first != "FAIL" && first != "PASS" && first != "" && !strings.HasPrefix(first, "exit status") {
			rest = append(rest, line)
		}
	}
	return rest
}

// skipReason returns what a test said when it was skipped: the last thing it logged, without the place.
func skipReason(out string) string {
	reason := ""
	for line := range strings.Lines(withoutChatter(out)) {
		if place, text, ok := strings.Cut(line, ": "); ok && strings.Contains(place, ".go:") {
			line = text
		}
		if line = strings.TrimSpace(line); line != "" {
			reason = line
		}
	}
	if reason == "" {
		return "no reason given"
	}
	return reason
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
