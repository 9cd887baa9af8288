package testbroker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// natsClock is what a nats-server whose clock can be moved has in the place of time.Now, time.Since and time.Until: all of its
// package server sees the wall clock jump, and the monotonic one stay, as they do where a real clock is set. A connection to the
// socket says how far ahead the clock is to be, and is closed once it is.
const natsClock = `package server

import (
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"
)

var wallAhead atomic.Int64 // seconds

// wallNow moves the seconds within a Time's field wall, which has them above 30 bits of nanoseconds where there is a monotonic
// reading, which is in another field.
func wallNow() time.Time {
	t := time.Now()
	*(*uint64)(unsafe.Pointer(&t)) += uint64(wallAhead.Load()) << 30
	return t
}

func wallSince(t time.Time) time.Duration { return wallNow().Sub(t) }
func wallUntil(t time.Time) time.Duration { return t.Sub(wallNow()) }

func init() {
	setWall(os.Getenv("EVENTBUS_NATS_AHEAD"))
	l, err := net.Listen("unix", os.Getenv("EVENTBUS_NATS_CLOCK"))
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			text := make([]byte, 64)
			n, _ := c.Read(text)
			setWall(string(text[:n]))
			c.Close()
		}
	}()
}

func setWall(ahead string) {
	if d, err := time.ParseDuration(ahead); err == nil {
		wallAhead.Store(int64(d / time.Second))
	}
}
`

// natsClockCalls are what of package time the server's sources call instead.
var natsClockCalls = strings.NewReplacer("time.Now()", "wallNow()", "time.Since(", "wallSince(", "time.Until(", "wallUntil(")

// natsClockPath is where the program with natsClock is kept, beside the one without.
func natsClockPath(ctx context.Context) (string, error) {
	path, err := natsPath(ctx)
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(natsClock)) // a hash takes all
	return fmt.Sprintf("%s-clock-%08x", path, sum.Sum32()), err
}

// buildNATSClock builds the program out of a copy of its module in which its package server asks natsClock for the time. The other
// packages, which are as they are in go.mod, are compiled already where the program without it was built.
func buildNATSClock(ctx context.Context, dir, program string) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", natsModule).Output()
	if err != nil {
		return fmt.Errorf("testbroker: go list -m %s: %w", natsModule, err)
	}
	from := strings.TrimSpace(string(out))
	if err := copyNATS(filepath.Join(dir, "src"), from); err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	mod = fmt.Appendf(mod, "\nreplace %s => %s\n", natsModule, filepath.Join(dir, "src"))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile="+filepath.Join(dir, "go.mod"), "-o", program, natsModule)
	cmd.Dir = root
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("testbroker: building %s with a clock: %w\n%s", natsModule, err, &said)
	}
	return nil
}

// copyNATS copies the module's sources without their tests, with the clock in them.
func copyNATS(to, from string) error {
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		rel, err2 := filepath.Rel(from, path)
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && filepath.Dir(rel) == "server" && filepath.Ext(rel) == ".go" {
			text = withNATSClock(text)
		}
		return errors.Join(err, os.WriteFile(filepath.Join(to, rel), text, 0o600))
	})
	return errors.Join(err, os.WriteFile(filepath.Join(to, "server", "wall_clock.go"), []byte(natsClock), 0o600))
}

// withNATSClock leaves package time imported and used, also where nothing else of it was.
func withNATSClock(text []byte) []byte {
	if patched := natsClockCalls.Replace(string(text)); patched != string(text) {
		return []byte(patched + "\nvar _ time.Time\n")
	}
	return text
}

func (n *NATS) clockSocket() string { return filepath.Join(n.dir, "clock") }

// withClock tells a program with natsClock where it is asked, and what time it is.
func (n *NATS) withClock(cmd *exec.Cmd) error {
	if err := os.RemoveAll(n.clockSocket()); err != nil { // of a server that was killed
		return err
	}
	cmd.Env = append(os.Environ(), "EVENTBUS_NATS_CLOCK="+n.clockSocket(), "EVENTBUS_NATS_AHEAD="+n.ahead.String())
	return nil
}

// SetClock has the server's wall clock be ahead of this process's by whole seconds, or behind it where ahead is negative. It
// returns once it is, and stays so over a restart. The server needs NATSOptions.Clock.
func (n *NATS) SetClock(ahead time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.opts.Clock {
		return errors.New("testbroker: nats-server was started without NATSOptions.Clock")
	}
	n.ahead = ahead.Truncate(time.Second)
	c, err := net.Dial("unix", n.clockSocket())
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, n.ahead.String()); err != nil {
		return err
	}
	_, err = io.ReadAll(c) // until it is closed
	return err
}
