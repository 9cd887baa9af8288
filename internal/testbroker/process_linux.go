package testbroker

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// dieWithParent asks Linux to kill the child when the thread that starts it ends. It is called on that thread.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stopped reports whether all threads of a process stand still, which is the state T of proc_pid_stat(5), behind the program's name in
// parentheses.
func stopped(pid int) bool {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		if end := bytes.LastIndexByte(text, ')'); end < 0 || end+2 >= len(text) || text[end+2] != 'T' {
			return false
		}
	}
	return true
}
