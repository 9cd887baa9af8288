package testbroker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// ErrNoFakeTime says that libfaketime is not installed, which a server needs whose clock is to be moved.
var ErrNoFakeTime = errors.New("libfaketime is not installed")

// fakeTimePlaces are where distributions put the library: Debian's and Fedora's package faketime or libfaketime.
var fakeTimePlaces = []string{
	"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1",
}

// findFakeTime returns where the library is.
func findFakeTime() (string, error) {
	if runtime.GOOS == "linux" {
		for _, place := range fakeTimePlaces {
			if found, _ := filepath.Glob(place); len(found) > 0 {
				return found[0], nil
			}
		}
	}
	return "", fmt.Errorf("testbroker: redis-server with a clock that can be moved: %w", ErrNoFakeTime)
}

// fakeTime has a process read a clock that SetClock moves. The monotonic clock stays as it is, as it does where a real
// one is set.
//
// The C library stands before the allocator that Debian's redis-server is linked with: that one asks for the time before it
// can allocate anything, and libfaketime allocates before it can say what time it is.
func (r *Redis) fakeTime(cmd *exec.Cmd) error {
	lib, err := findFakeTime()
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+lib+" libc.so.6", "FAKETIME_TIMESTAMP_FILE="+r.clockFile(),
		"FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	if _, err := os.Stat(r.clockFile()); err == nil {
		return nil // it stays as it was before a restart
	}
	return r.SetClock(0)
}

func (r *Redis) clockFile() string { return filepath.Join(r.dir, "clock") }

// SetClock has the server's clock be ahead of this process's, or behind it where ahead is negative. The server needs
// RedisOptions.Clock. The clock of a server in this process stands still from then on.
func (r *Redis) SetClock(ahead time.Duration) error {
	if !r.opts.Clock {
		return errors.New("testbroker: redis-server was started without RedisOptions.Clock")
	}
	if r.mini != nil {
		r.mini.SetTime(time.Now().Add(ahead))
		return nil
	}
	// The server reads the file each time that it looks at the clock, and must find it whole.
	next := r.clockFile() + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%+.3f", ahead.Seconds()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, r.clockFile())
}
