package brokertest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// Environment variables that govern a run of the suite.
const (
	// EnvFull, when it is 1, runs the cases of a broken world in full size: minutes instead of seconds for each broker.
	EnvFull = "EVENTBUS_FULL"
	// EnvFigures names the file to which such a case appends a line with what it measured.
	EnvFigures = "EVENTBUS_FIGURES"
	// EnvCases names the file to which Run appends a line for each promise that a connection makes and for each case that
	// ran: "promise" or the case's verdict, "pass" or "fail"; scheme; "real" or "in-process"; version; promises that the
	// line is about, with commas between them; the case's name. Tabs separate the fields.
	EnvCases = "EVENTBUS_TEST_CASES"
)

func inFull() bool { return os.Getenv(EnvFull) == "1" }

// sized returns the full size of something, or its short form.
func sized(full, short int) int {
	if inFull() {
		return full
	}
	return short
}

// figure logs what a case measured and appends it to the file that EnvFigures names.
func (w *world) figure(format string, args ...any) {
	w.Helper()
	line := fmt.Sprintf(format, args...)
	w.Logf("%s", line)
	if path := os.Getenv(EnvFigures); path != "" && w.h.Server.Real {
		if err := appendLine(path, w.h.Server.Scheme+":// "+line); err != nil {
			w.Errorf("%s: %v", EnvFigures, err)
		}
	}
}

// appendLine writes one line in one write, so that several test binaries can share a file.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// A caseLog writes what EnvCases asks for.
type caseLog struct {
	t      *testing.T
	path   string
	server Server

	mu sync.Mutex
}

func openCaseLog(t *testing.T, h Harness, caps brokers.Capabilities) *caseLog {
	l := &caseLog{t: t, path: os.Getenv(EnvCases), server: h.Server}
	if h.Server.Scheme == "" {
		l.path = ""
	}
	for _, p := range Promises(caps) {
		l.write("promise", p, "")
	}
	return l
}

// ran notes that a case ran.
func (l *caseLog) ran(c Case, passed bool) {
	verdict := "pass"
	if !passed {
		verdict = "fail"
	}
	l.write(verdict, strings.Join(c.Promises(), ","), c.Name)
}

func (l *caseLog) write(fields ...string) {
	if l.path == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := "in-process"
	if l.server.Real {
		kind = "real"
	}
	line := strings.Join([]string{fields[0], l.server.Scheme, kind, l.server.Version, fields[1], fields[2]}, "\t")
	if err := appendLine(l.path, line); err != nil {
		l.t.Errorf("%s: %v", EnvCases, err)
	}
}

// close ends the log; nothing is written after it.
func (l *caseLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.path = ""
}

// Promises names the promises that caps makes, in the words of the cases that hold a driver to them: see Case.Promises.
func Promises(caps brokers.Capabilities) []string {
	var out []string
	for _, n := range []need{durable, groups, keyOrder, chOrder, attempts, delay, patterns, replay, dedup, maxBytes} {
		if n.met(caps, Harness{}) {
			out = append(out, n.text)
		}
	}
	return out
}

// Promises names the promises that the case holds a driver to, such as "Durable" or "Order key".
func (c Case) Promises() []string {
	var out []string
	for _, n := range c.needs {
		if n.field != "" {
			out = append(out, n.text)
		}
	}
	return out
}
