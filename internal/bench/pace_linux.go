package main

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Flags of timerfd_create(2) and the clock that it counts by.
const (
	clockMonotonic = 1
	timerFlags     = syscall.O_NONBLOCK | syscall.O_CLOEXEC
)

// timerSpec is the struct itimerspec of timerfd_settime(2).
type timerSpec struct{ interval, first syscall.Timespec }

// tick calls n times at an even pace. Between two calls the goroutine is parked in the runtime's network poller, on a
// timer of the kernel, as a goroutine of a service is that waits for the next request: it takes no processor from the
// others, and keeps none, as a goroutine in a sleeping system call would for a while. A call that comes late is
// followed by the next one at once.
func tick(n int, interval time.Duration, call func(i int) error) error {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, timerFlags, 0)
	if errno != 0 {
		return os.NewSyscallError("timerfd_create", errno)
	}
	timer := os.NewFile(fd, "timer")
	defer timer.Close()
	spec := timerSpec{interval: syscall.NsecToTimespec(int64(interval)), first: syscall.NsecToTimespec(int64(interval))}
	_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timerfd_settime", errno)
	}
	var expired [8]byte // how often it has since the last read
	for i := 0; i < n; {
		if _, err := timer.Read(expired[:]); err != nil {
			return errors.Join(errors.New("timer"), err)
		}
		for due := binary.NativeEndian.Uint64(expired[:]); due > 0 && i < n; due-- {
			if err := call(i); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}
