package testbroker

import (
	"os/exec"
	"syscall"
)

// dieWithParent asks Linux to kill the child when the thread that starts it ends. It is called on that thread.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
