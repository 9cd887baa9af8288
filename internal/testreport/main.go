// Program testreport runs go test and says what came of it, in a form that a person reads and a log keeps.
//
// Packages are printed as they pass, and failures in full. The last lines are what a reviewer asks first: which tests
// were skipped and why, which servers the others ran against (from the file that package testbroker writes), which
// promises of which broker were held (from the file that package brokertest writes), what could not be had, PASS or FAIL, and, alone on its line, "N passed, N failed, N skipped", counting tests and subtests.
//
//	go run ./internal/testreport [flags] -- [flags and packages of go test]
//
// The exit status is 1 where anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

// heartbeat is how often a run that prints nothing says what it is doing.
const heartbeat = time.Minute

func main() {
	var (
		opts            options
		record, figures string
		cases           string
	)
	flag.StringVar(&record, "record", "", "`file` in which the tests recorded the servers they started")
	flag.StringVar(&figures, "figures", "", "`file` in which the tests wrote what they measured, a line each")
	flag.StringVar(&cases, "cases", "", "`file` in which the conformance suite recorded its cases")
	flag.Func("url", "`scheme` whose promises all have to be held on a real server; may repeat", appendTo(&opts.urls))
	flag.BoolVar(&opts.strict, "strict", false, "fail where something could not be had or a test was skipped for want of it (CI)")
	flag.Func("missing", "`what` could not be had; may repeat", appendTo(&opts.missing))
	flag.Func("expect", "`broker` whose real server has to be among the recorded ones; may repeat", appendTo(&opts.expect))
	flag.Parse()

	r := newReport(os.Stdout, opts)
	if err := run(r, flag.Args()); err != nil {
		r.trouble(err)
	}
	if err := printFigures(os.Stdout, figures); err != nil {
		r.trouble(err)
	}
	servers, err := readRecord(record)
	if err != nil {
		r.trouble(err)
	}
	if r.cases, err = readCases(cases); err != nil {
		r.trouble(err)
	}
	if !r.finish(servers) {
		os.Exit(1)
	}
}

// printFigures copies what the tests measured, such as how long a fault was felt. There is none where no such test ran.
func printFigures(w io.Writer, path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "\nmeasured:\n%s", text)
	return err
}

func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

// run runs go test -json and feeds r. That tests failed is no error of its own: r has been told.
func run(r *report, args []string) error {
	// An interrupt reaches go test as well, which ends; this program stays to say what came of it.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)

	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	events := make(chan event)
	go func() {
		defer close(events)
		read(out, events)
	}()
	collect(r, events)
	if err := cmd.Wait(); err != nil && r.failed() == 0 {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

// collect hands events to r until there are no more, and lets it speak up where there have been none for long.
func collect(r *report, events <-chan event) {
	silence := time.NewTicker(heartbeat)
	defer silence.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if r.add(e) {
				silence.Reset(heartbeat)
			}
		case <-silence.C:
			r.alive()
		}
	}
}

// An event is a line of go test -json; see go doc test2json, and go help buildjson for those with ImportPath.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64 // in seconds
	Output      string
	FailedBuild string
}

// read decodes the lines of in. A line that is no event is passed on as output: go test prints some of its own.
func read(in io.Reader, events chan<- event) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			events <- decode(line)
		}
		if err != nil {
			return
		}
	}
}

func decode(line string) event {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		return event{Action: "build-output", Output: line}
	}
	return e
}
