package middleware

import (
	"errors"
	"fmt"
	"time"
)

// maxHistory is how many attempts an error remembers: the first ones show how it began, the last ones how it went on.
const maxHistory = 16

// An Attempted is an attempt that failed.
type Attempted struct {
	Number int // from 1
	At     time.Time
	Err    error
}

// An AttemptsError is the last error of a handler that was tried more than once.
type AttemptsError struct {
	Attempts int // the number of the last one
	Err      error
	// History has the attempts of this delivery, in their order: all of up to 16, else the first 8 and the last 8.
	History []Attempted
}

// Error says how often the handler was tried, and the last error.
func (e *AttemptsError) Error() string {
	return fmt.Sprintf("after %d attempts: %v", e.Attempts, e.Err)
}

// Unwrap returns the last error.
func (e *AttemptsError) Unwrap() error { return e.Err }

// A LaterError is what [Retry] with [Later] returns of an event that has to be tried again no sooner than After from now, by
// handing it over again. It is no failure: the event is neither handled nor given up.
type LaterError struct {
	After    time.Duration
	Attempt  int  // the number of the one that failed
	AnyOrder bool // later events of the key need not wait for it
	Err      error
	// History has the attempts of this delivery, as that of an AttemptsError.
	History []Attempted
}

// Error says when the next attempt is due, and the last error.
func (e *LaterError) Error() string {
	return fmt.Sprintf("attempt %d failed, the next one is due in %v: %v", e.Attempt, e.After, e.Err)
}

// Unwrap returns the last error.
func (e *LaterError) Unwrap() error { return e.Err }

// Attempts returns how many attempts led to err: 1 where it does not say.
func Attempts(err error) int {
	if counted := new(AttemptsError); errors.As(err, &counted) {
		return counted.Attempts
	}
	return 1
}

// History returns the attempts of this delivery that led to err, none where it does not say.
func History(err error) []Attempted {
	if later := new(LaterError); errors.As(err, &later) {
		return later.History
	}
	if counted := new(AttemptsError); errors.As(err, &counted) {
		return counted.History
	}
	return nil
}

// JoinHistory returns what both remember of one event, within the bound of an error's History.
func JoinHistory(before, after []Attempted) []Attempted {
	h := append(history(nil), before...)
	for _, a := range after {
		h = h.push(a)
	}
	return h
}

// A history is bounded by maxHistory.
type history []Attempted

func (h history) add(n int, err error) history { return h.push(Attempted{n, time.Now(), err}) }

func (h history) push(a Attempted) history {
	if len(h) >= maxHistory {
		h = append(h[:maxHistory/2], h[maxHistory/2+1:]...)
	}
	return append(h, a)
}

// end returns the error of an event that gets no further attempt: err itself where there was only one.
func (h history) end(err error) error {
	n := h[len(h)-1].Number
	if n == 1 {
		return err
	}
	return &AttemptsError{Attempts: n, Err: err, History: h}
}

func (h history) later(after time.Duration, anyOrder bool, err error) error {
	return &LaterError{After: after, Attempt: h[len(h)-1].Number, AnyOrder: anyOrder, Err: err, History: h}
}
