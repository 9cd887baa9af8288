package testbroker

import "os/exec"

// Installed reports whether redis-server is in the PATH.
func Installed() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}
