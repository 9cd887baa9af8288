package testbroker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsModule is the server's module; its version is the one that go.mod requires.
const natsModule = "github.com/nats-io/nats-server/v2"

var builtNATS struct {
	sync.Mutex
	paths [2]string // without and with a clock
}

// A natsPlace says where a program is kept.
type natsPlace func(context.Context) (string, error)

func (o NATSOptions) findProgram() natsPlace {
	if o.Clock {
		return natsClockPath
	}
	return natsPath
}

// builtBefore reports whether a program of go.mod's version was built already.
func builtBefore(ctx context.Context, find natsPlace) bool {
	path, err := find(ctx)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// natsProgram returns the path of a nats-server, which it builds from its module where that was not done before: half a
// minute on a small machine, once. The one with a clock is nats_clock.go's.
func natsProgram(ctx context.Context, opts NATSOptions) (string, error) {
	builtNATS.Lock()
	defer builtNATS.Unlock()
	built, build := &builtNATS.paths[0], buildNATS
	if opts.Clock {
		built, build = &builtNATS.paths[1], buildNATSClock
	}
	if *built != "" {
		return *built, nil
	}
	path, err := opts.findProgram()(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		if err := buildAside(ctx, path, build); err != nil {
			return "", err
		}
	}
	*built = path
	return path, nil
}

// natsPath is where the program is kept: in the folder for what is downloaded and built, which git ignores.
func natsPath(ctx context.Context) (string, error) {
	root, err := moduleRoot(ctx)
	return filepath.Join(root, ".cache", "bin", "nats-server-"+natsserver.VERSION), err
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("testbroker: go env: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// buildAside builds under another name and renames: the tests of several packages may build at the same time.
func buildAside(ctx context.Context, path string, build func(ctx context.Context, dir, program string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "nats-server")
	if err := build(ctx, dir, program); err != nil {
		return err
	}
	return os.Rename(program, path)
}

func buildNATS(ctx context.Context, _, program string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, natsModule)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("testbroker: building %s: %w\n%s", natsModule, err, &said)
	}
	return nil
}
