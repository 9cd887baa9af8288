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
	"time"
)

// A server is one kind of server that tests ran against.
type server struct{ broker, kind, version string }

const kindReal = "real"

// readRecord reads the file that package testbroker writes: a line for each start, with the broker, "real" or
// "in-process", the version and the test, separated by tabs. It returns the tests of each server. No file means no starts.
func readRecord(file string) (map[server]map[string]bool, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("record of servers: %w", err)
	}
	defer f.Close()
	servers := make(map[server]map[string]bool)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 4 {
			return servers, fmt.Errorf("record of servers: %q has %d fields instead of 4", lines.Text(), len(fields))
		}
		s := server{fields[0], fields[1], fields[2]}
		if servers[s] == nil {
			servers[s] = make(map[string]bool)
		}
		servers[s][fields[3]] = true
	}
	return servers, lines.Err()
}

// finish prints the end of the report and reports whether the run passed.
func (r *report) finish(servers map[server]map[string]bool) bool {
	fmt.Fprintln(r.out)
	wanting := r.printSkips()
	r.printServers(servers)
	r.printMatrix(r.cases)
	problems := r.problems(servers, wanting)
	for _, n := range r.fails {
		fmt.Fprintf(r.out, "failed: %v\n", n)
	}
	for _, m := range r.opts.missing {
		fmt.Fprintf(r.out, "NOT TESTED: %s\n", m)
	}
	for _, p := range problems {
		fmt.Fprintf(r.out, "problem: %s\n", p)
	}
	passed := len(r.fails) == 0 && len(problems) == 0
	fmt.Fprintln(r.out, map[bool]string{true: "PASS", false: "FAIL"}[passed], "in", time.Since(r.started).Round(time.Second))
	fmt.Fprintln(r.out, r.closingLine())
	return passed
}

// problems are what fails a run in which no test failed.
func (r *report) problems(servers map[server]map[string]bool, wanting int) []string {
	var out []string
	for _, err := range r.errs {
		out = append(out, err.Error())
	}
	total := r.total()
	if total.passed+total.failed+total.skipped == 0 {
		out = append(out, "no test ran")
	}
	for _, broker := range r.opts.expect {
		if !hasReal(servers, broker) {
			out = append(out, "no test ran against a real "+broker+" server")
		}
	}
	out = append(out, unproven(r.cases, r.opts.urls)...)
	if r.opts.strict && len(r.opts.missing) > 0 {
		out = append(out, "CI has to have everything that can be had: see NOT TESTED above")
	}
	if r.opts.strict && wanting > 0 {
		out = append(out, fmt.Sprintf("%d tests were skipped for want of something that can be had", wanting))
	}
	return out
}

func hasReal(servers map[server]map[string]bool, broker string) bool {
	for s := range servers {
		if s.broker == broker && s.kind == kindReal {
			return true
		}
	}
	return false
}

// printSkips lists the skipped tests by reason. It returns how many were skipped for want of something: by agreement
// (a rule in internal/arch) such a reason opens with "needs ".
func (r *report) printSkips() (wanting int) {
	byReason := make(map[string][]string)
	for _, s := range r.skips {
		byReason[s.reason] = append(byReason[s.reason], s.name.String())
		if strings.HasPrefix(s.reason, "needs ") {
			wanting++
		}
	}
	if len(byReason) == 0 {
		return 0
	}
	fmt.Fprintln(r.out, "skipped:")
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		fmt.Fprintf(r.out, "  %s (%d)\n", reason, len(byReason[reason]))
		for _, n := range byReason[reason] {
			fmt.Fprintf(r.out, "    %s\n", n)
		}
	}
	return wanting
}

func (r *report) printServers(servers map[server]map[string]bool) {
	if len(servers) == 0 {
		fmt.Fprintln(r.out, "no test started a server")
		return
	}
	keys := slices.SortedFunc(maps.Keys(servers), func(a, b server) int {
		return cmp.Or(cmp.Compare(a.broker, b.broker), -cmp.Compare(a.kind, b.kind), cmp.Compare(a.version, b.version))
	})
	w := tabwriter.NewWriter(r.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "broker\tserver\tversion\ttests")
	for _, s := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", s.broker, s.kind, s.version, len(servers[s]))
	}
	_ = w.Flush()
}

func (r *report) total() counts {
	var sum counts
	for _, c := range r.counts {
		sum.passed += c.passed
		sum.failed += c.failed
		sum.skipped += c.skipped
	}
	return sum
}

func (r *report) closingLine() string {
	sum := r.total()
	return fmt.Sprintf("%d passed, %d failed, %d skipped", sum.passed, sum.failed, sum.skipped)
}
