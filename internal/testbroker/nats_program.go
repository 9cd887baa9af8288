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
	path string
}

// NATSBuilt reports whether a nats-server program of go.mod's version was built already.
func NATSBuilt(ctx context.Context) bool {
	path, err := natsPath(ctx)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// natsProgram returns the path of a nats-server, which it builds from its module where that was not done before: half a
// minute on a small machine, once.
func natsProgram(ctx context.Context) (string, error) {
	builtNATS.Lock()
	defer builtNATS.Unlock()
	if builtNATS.path != "" {
		return builtNATS.path, nil
	}
	path, err := natsPath(ctx)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		if err := buildNATS(ctx, path); err != nil {
			return "", err
		}
	}
	builtNATS.path = path
	return path, nil
}

// natsPath is where the program is kept: in the folder for what is downloaded and built, which git ignores.
func natsPath(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("testbroker: go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	return filepath.Join(root, ".cache", "bin", "nats-server-"+natsserver.VERSION), nil
}

// buildNATS builds under another name and renames: the tests of several packages may build at the same time.
func buildNATS(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "nats-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, natsModule)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("testbroker: building %s: %w\n%s", natsModule, err, &said)
	}
	return os.Rename(program, path)
}
