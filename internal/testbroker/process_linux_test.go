package testbroker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHelperProcess is not a test: it is the program that TestAServerDiesWithTheProgramThatStartedIt kills.
func TestHelperProcess(t *testing.T) {
	if os.Getenv("TESTBROKER_HELPER") != "1" {
		return
	}
	r, err := Start(context.Background(), RedisOptions{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("pid", r.Pid(), r.dir)
	select {}
}

func TestAServerDiesWithTheProgramThatStartedIt(t *testing.T) {
	if !Installed() && os.Getenv(EnvRequireReal) != "1" {
		t.Skip("needs redis-server, which is not installed")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), "TESTBROKER_HELPER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(fields) != 3 {
		t.Fatalf("helper said %q", line)
	}
	defer os.RemoveAll(fields[2])
	pid, _ := strconv.Atoi(fields[1])
	for deadline := time.Now().Add(30 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("redis-server %d outlived its program", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive reports whether a process runs; a zombie that nobody waits for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
