package brokers

import (
	"errors"
	"fmt"
)

// ErrClosed is what a Conn answers after Close.
var ErrClosed = errors.New("connection closed")

// Outcome is what a driver knows of a message that it was asked to publish.
type Outcome uint8

// Confirmed: the broker took it. NotSent: it never left, and may be sent again. Rejected: the broker refused it for good.
// Unknown: it may or may not have arrived, since the connection broke between sending and reply.
const (
	Confirmed Outcome = iota
	NotSent
	Rejected
	Unknown
)

// String returns the outcome in a word, such as "not_sent".
func (o Outcome) String() string {
	switch o {
	case Confirmed:
		return "confirmed"
	case NotSent:
		return "not_sent"
	case Rejected:
		return "rejected"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// A BatchError says what became of the messages of a batch that the broker did not take.
type BatchError struct {
	// Failed lists them in ascending order of Index. A message that is not listed was taken.
	Failed []MessageError
}

// A MessageError is the outcome of one message of a batch.
type MessageError struct {
	Index   int     // in the batch
	Outcome Outcome // never Confirmed
	Err     error   // the client's error, as it came
}

// Error counts the failed messages and shows the first error.
func (e *BatchError) Error() string {
	if len(e.Failed) == 0 {
		return "no message failed"
	}
	f := e.Failed[0]
	return fmt.Sprintf("%d messages failed, the first one %s: %v", len(e.Failed), f.Outcome, f.Err)
}

// Unwrap returns the first error, so that errors.Is and errors.As see it.
func (e *BatchError) Unwrap() error {
	if len(e.Failed) == 0 {
		return nil
	}
	return e.Failed[0].Err
}

// FailAll returns a BatchError that gives all n messages of a batch one outcome.
func FailAll(n int, o Outcome, err error) *BatchError {
	e := &BatchError{Failed: make([]MessageError, n)}
	for i := range e.Failed {
		e.Failed[i] = MessageError{Index: i, Outcome: o, Err: err}
	}
	return e
}
