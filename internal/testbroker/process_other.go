//go:build !linux

package testbroker

import "os/exec"

// dieWithParent does nothing: only Linux can end a child with its parent. Elsewhere a server whose test binary was
// killed has to be stopped by hand.
func dieWithParent(*exec.Cmd) {}

// stopped is true: only Linux tells.
func stopped(int) bool { return true }
