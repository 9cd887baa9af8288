package watermill_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// restartArg makes the test's own program the RestartServiceCommand of Watermill's suite, which has to be an executable: it asks
// the test process, which owns the server, and waits for its answer.
const restartArg = "restart-server-of-the-test-at"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == restartArg {
		if err := askForRestart(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func askForRestart(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := io.ReadAll(c)
	if err == nil && string(answer) != "restarted" {
		err = fmt.Errorf("the server was not restarted: %s", answer)
	}
	return err
}

// A killable server is one of package testbroker.
type killable interface {
	Kill() error
	Restart(ctx context.Context) error
}

// restartCommand returns a command that kills the server (SIGKILL) and starts it again, and returns when it answers.
func restartCommand(t *testing.T, server killable) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, restarted(server))
			c.Close()
		}
	}()
	return []string{self, restartArg, l.Addr().String()}
}

func restarted(server killable) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Kill(); err != nil {
		return err.Error()
	}
	if err := server.Restart(ctx); err != nil {
		return err.Error()
	}
	return "restarted"
}
