package subscribers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// generous bounds what takes a moment, for slow machines under load.
const generous = 60 * time.Second

// A language is what runs a subscriber.
type language struct {
	name    string
	ext     string
	command func(t *testing.T) (interpreter, version string) // skips or fails the test where there is none
}

var languages = []language{
	{"python", ".py", python},
	{"node", ".mjs", node},
}

// envPython names a Python that can import redis. Without it, the one that setup.sh made is tried, and then python3.
const envPython = "EVENTBUS_TEST_PYTHON"

func python(t *testing.T) (interpreter, version string) {
	t.Helper()
	candidates := []string{filepath.Join("..", "..", ".cache", "venv", "bin", "python"), "python3"}
	if named := os.Getenv(envPython); named != "" {
		candidates = []string{named}
	}
	const about = "import platform, redis; print(platform.python_version(), 'with redis-py', redis.__version__)"
	for _, c := range candidates {
		if out, err := exec.Command(c, "-c", about).Output(); err == nil {
			path, err := filepath.Abs(c)
			if _, inPath := exec.LookPath(c); c == "python3" && inPath == nil {
				path, err = exec.LookPath(c)
			}
			if err != nil {
				t.Fatal(err)
			}
			return path, strings.TrimSpace(string(out))
		}
	}
	missing(t, "a Python that can import redis: run examples/subscribers/setup.sh, or name one in "+envPython)
	return "", ""
}

func node(t *testing.T) (interpreter, version string) {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node: install Node.js 18 or later")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "redis")); err != nil {
		missing(t, "the package redis in examples/subscribers/node: run examples/subscribers/setup.sh, or npm ci there")
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return path, strings.TrimSpace(strings.TrimPrefix(string(out), "v"))
}

// missing skips the test, or fails it where nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(testbroker.EnvRequireReal) == "1" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// record says in the report of the test run what ran, in the form of package testbroker: see testbroker.EnvRecord.
func record(t *testing.T, l language, version string) {
	t.Helper()
	path := os.Getenv(testbroker.EnvRecord)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s\treal\t%s\t%s\n", l.name, version, t.Name())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A program is a running subscriber.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of stdout
	stderr bytes.Buffer
}

// start starts a subscriber: "security" or "user".
func start(t *testing.T, l language, name, url string, args ...string) *program {
	t.Helper()
	interpreter, version := l.command(t)
	record(t, l, version)
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	t.Cleanup(cancel)
	p := &program{t: t, lines: make(chan string)}
	p.cmd = exec.CommandContext(ctx, interpreter, append([]string{filepath.Join(l.name, name+l.ext)}, args...)...)
	p.cmd.Env = append(os.Environ(), "EVENTBUS_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(func() {
		cancel()
		for range p.lines { // until the program is gone
		}
		_ = p.cmd.Wait()
	})
	return p
}

func (p *program) read(stdout io.Reader) {
	defer close(p.lines)
	for s := bufio.NewScanner(stdout); s.Scan(); {
		p.lines <- s.Text()
	}
}

// expect fails the test where the next lines of the program are others.
func (p *program) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		got, ok := <-p.lines
		if !ok {
			_ = p.cmd.Wait()
			p.t.Fatalf("%v ended instead of printing %q\n%s", p.cmd.Args, w, p.stderr.String())
		}
		if got != w {
			p.t.Fatalf("%v printed\n%q, want\n%q", p.cmd.Args, got, w)
		}
	}
}

// signal sends a signal to the program.
func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end expects the program to print nothing more and to end with a status. It returns what came on stderr.
func (p *program) end(status int) string {
	p.t.Helper()
	for line := range p.lines {
		p.t.Errorf("%v printed %q", p.cmd.Args, line)
	}
	_ = p.cmd.Wait() // the status says it
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("%v: exit status %d, want %d\n%s", p.cmd.Args, got, status, p.stderr.String())
	}
	return p.stderr.String()
}
