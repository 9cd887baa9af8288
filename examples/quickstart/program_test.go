package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
)

// runsMain tells the test binary to be the program itself: that is what a test starts, so that the program under test
// has the race detector wherever the test has it.
const runsMain = "QUICKSTART_RUNS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runsMain) == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// generous bounds what takes milliseconds, for slow machines under the race detector.
const generous = 60 * time.Second

// A program is a running quickstart.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Scanner
	stderr bytes.Buffer
	lines  []string // of stdout, so far
}

// start runs the quickstart, with EVENTBUS_URL set to url, or unset where that is empty.
func start(t *testing.T, url string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	t.Cleanup(cancel)
	p := &program{t: t, cmd: exec.CommandContext(ctx, os.Args[0], args...)}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, bus.EnvURL+"=") })
	p.cmd.Env = append(p.cmd.Env, runsMain+"=1")
	if url != "" {
		p.cmd.Env = append(p.cmd.Env, bus.EnvURL+"="+url)
	}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
	})
	return p
}

// await reads up to a line that contains text, and returns it.
func (p *program) await(text string) string {
	p.t.Helper()
	for p.stdout.Scan() {
		line := p.stdout.Text()
		p.lines = append(p.lines, line)
		if strings.Contains(line, text) {
			return line
		}
	}
	p.t.Fatalf("the program ended without printing %q\n%s%s", text, strings.Join(p.lines, "\n"), p.stderr.String())
	return ""
}

// interrupt is what Ctrl-C does.
func (p *program) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// A result is what a program left behind.
type result struct {
	status         int
	stdout, stderr string
	last           string // line of stdout
}

// wait reads on until the program ends.
func (p *program) wait() result {
	p.t.Helper()
	for p.stdout.Scan() {
		p.lines = append(p.lines, p.stdout.Text())
	}
	err := p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	r := result{status: p.cmd.ProcessState.ExitCode(), stdout: strings.Join(p.lines, "\n"), stderr: p.stderr.String()}
	if n := len(p.lines); n > 0 {
		r.last = p.lines[n-1]
	}
	return r
}

// expect fails the test where the program ended otherwise.
func (r result) expect(t *testing.T, status int, last string) {
	t.Helper()
	if r.status != status || r.last != last {
		t.Fatalf("exit status %d and last line %q, want %d and %q\n%s\n%s",
			r.status, r.last, status, last, r.stdout, r.stderr)
	}
}
