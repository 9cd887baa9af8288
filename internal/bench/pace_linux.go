package main

import (
	"runtime"
	"syscall"
)

// prSetTimerSlack is PR_SET_TIMERSLACK of prctl(2): how late the kernel may wake a sleeping thread, 50 us by default.
const prSetTimerSlack = 29

// doze returns a wait that leaves the core to others: it sleeps in the kernel, on a thread of its own, and looks at the
// clock for the last part. done gives the thread back.
func doze() (wait func(until int64), done func()) {
	const tail = 60_000 // ns that a sleep may take longer
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
	wait = func(until int64) {
		if left := until - now() - tail; left > 0 {
			t := syscall.NsecToTimespec(left)
			_ = syscall.Nanosleep(&t, nil)
		}
		spin(until)
	}
	return wait, func() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 0, 0) // the default again
		runtime.UnlockOSThread()
	}
}
