package brokers

import (
	"fmt"
	"runtime"
)

// maxPanicStack is how much of a panicking goroutine's stack is kept, in bytes: the innermost frames come first.
const maxPanicStack = 16 << 10

// A PanicError is a panic on a goroutine of a driver's own: in the driver, in its client library, or in what a user has given it,
// such as a format. It may go away by itself, as far as anybody knows.
type PanicError struct {
	// Value is what the goroutine panicked with.
	Value any
	// Stack is the goroutine's stack at the panic as the runtime prints it, at most 16 KiB of it.
	Stack []byte
}

// Error names the value, as its own text or else by its type: anything may be in it.
func (e *PanicError) Error() string {
	switch v := e.Value.(type) {
	case string, error, fmt.Stringer:
		return fmt.Sprintf("the driver panicked: %.1024v", v) // package fmt contains panics of their methods
	default:
		return fmt.Sprintf("the driver panicked with a %T", v)
	}
}

// Unwrap returns the value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Contain calls f and returns what it returns, or a *PanicError where it panics. A bus contains panics in what it calls of a driver
// on its own goroutines; on those that a driver starts nobody else can: unless it calls by Contain what it does there, a panic
// ends the process, whose other brokers and subscriptions are well. The error is for who waits for the goroutine.
func Contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := make([]byte, maxPanicStack)
			err = &PanicError{Value: v, Stack: stack[:runtime.Stack(stack, false)]}
		}
	}()
	return f()
}
