//go:build !unix

package testbroker

import "os"

// A server cannot be frozen where there are no signals; os.Process reports that.
var (
	sigFreeze os.Signal = os.Interrupt
	sigThaw   os.Signal = os.Interrupt
)
