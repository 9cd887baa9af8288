//go:build unix

package testbroker

import (
	"os"
	"syscall"
)

// The signals that freeze and thaw a server.
var (
	sigFreeze os.Signal = syscall.SIGSTOP
	sigThaw   os.Signal = syscall.SIGCONT
)
