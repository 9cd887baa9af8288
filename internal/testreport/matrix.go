package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// A target is what the cases of the conformance suite ran against.
type target struct{ scheme, kind, version string }

// conformance is what came of the suite on one target.
type conformance struct {
	promised       []string
	held, broken   map[string]bool // promises with a case that passed, and with one that failed
	passed, failed int
}

// readCases reads the file that package brokertest writes: see its EnvCases. No file means that no case ran.
func readCases(file string) (map[target]*conformance, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("record of cases: %w", err)
	}
	defer f.Close()
	all := make(map[target]*conformance)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 6 {
			return all, fmt.Errorf("record of cases: %q has %d fields instead of 6", lines.Text(), len(fields))
		}
		t := target{fields[1], fields[2], fields[3]}
		if all[t] == nil {
			all[t] = &conformance{held: make(map[string]bool), broken: make(map[string]bool)}
		}
		all[t].add(fields[0], fields[4])
	}
	return all, lines.Err()
}

// add takes one line: a promise, or a case that passed or failed and the promises that it holds a driver to.
func (c *conformance) add(what, promises string) {
	list := strings.FieldsFunc(promises, func(r rune) bool { return r == ',' })
	for _, p := range list {
		switch what {
		case "promise":
			if !slices.Contains(c.promised, p) {
				c.promised = append(c.promised, p)
			}
		case "pass":
			c.held[p] = true
		default:
			c.broken[p] = true
		}
	}
	switch what {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
	}
}

// missing returns the promises that no case has held the driver to, and those that it broke.
func (c *conformance) missing() []string {
	return slices.DeleteFunc(slices.Clone(c.promised), func(p string) bool { return c.held[p] && !c.broken[p] })
}

// printMatrix prints what the conformance suite ran against and what came of it.
func (r *report) printMatrix(all map[target]*conformance) {
	if len(all) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(all), func(a, b target) int {
		return cmp.Or(cmp.Compare(a.scheme, b.scheme), -cmp.Compare(a.kind, b.kind), cmp.Compare(a.version, b.version))
	})
	fmt.Fprintln(r.out)
	w := tabwriter.NewWriter(r.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "broker\tserver\tversion\tpromises held\tcases passed")
	for _, t := range keys {
		c := all[t]
		missing := c.missing()
		promises := fmt.Sprintf("%d of %d", len(c.promised)-len(missing), len(c.promised))
		if len(missing) > 0 {
			promises += ", not " + strings.Join(missing, ", ")
		}
		fmt.Fprintf(w, "%s://\t%s\t%s\t%s\t%d of %d\n", t.scheme, t.kind, t.version, promises, c.passed, c.passed+c.failed)
	}
	_ = w.Flush()
}

// unproven are the problems of a run that has to show that every promise of the URLs in question is kept by a real server.
func unproven(all map[target]*conformance, urls []string) []string {
	var out []string
	for _, scheme := range urls {
		real := false
		for t, c := range all {
			if t.scheme != scheme || t.kind != kindReal {
				continue
			}
			real = true
			for _, p := range c.missing() {
				out = append(out, fmt.Sprintf("%s:// promises %s, and no case of it passed on the real server %s", scheme, p, t.version))
			}
		}
		if !real {
			out = append(out, "the conformance suite did not run on a real server of "+scheme+"://")
		}
	}
	slices.Sort(out)
	return out
}
