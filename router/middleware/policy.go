package middleware

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// The defaults of a Policy's fields.
const (
	DefaultAttempts = 3
	DefaultMaxWait  = 5 * time.Minute
	DefaultInPlace  = time.Second
)

// A Policy says how often a handler is tried and how long to wait in between. The zero value is ready for use.
// [ParsePolicy] reads one that is written as "5 times, 200ms to 10m, jitter".
type Policy struct {
	// Attempts is how often an event is tried at most, the first attempt included, and those that a broker counted
	// before this delivery; 0 means 3, and 1 means no retry. A negative number is refused by Validate, and counts as 1.
	Attempts int
	// Backoff is the wait between attempts. See there for its defaults.
	Backoff Backoff
	// InPlace is the longest wait that keeps the worker; 0 or less means 1 s. It counts where Retry was given Later:
	// what has to wait longer makes room for other events meanwhile.
	InPlace time.Duration
	// MaxWait is the longest wait within this process that a handler may ask for with router.RetryAfter; 0 or less means 5
	// minutes. Who asks for more gets no further attempt, and the error is returned as it is.
	MaxWait time.Duration
	// AnyOrder lets later events of the same key go ahead of one that waits longer than InPlace. Without it they wait
	// behind it wherever the broker keeps the order of a key.
	AnyOrder bool
	// Errors are other policies for some errors; the first that matches an attempt's error decides what comes after that
	// attempt. The attempts are counted over all of them.
	Errors []ErrorPolicy
}

// An ErrorPolicy is the policy for the errors that Match recognises. Make it with [WhenIs], [WhenAs], or by hand.
type ErrorPolicy struct {
	// Name is what a configuration file calls these errors; it may be empty.
	Name string
	// Match reports whether an error is one of them. It is called concurrently, and only where an attempt has failed.
	Match func(err error) bool
	// Policy is what holds for them; its own Errors are refused.
	Policy Policy
}

// WhenIs is the policy for errors in which errors.Is finds target.
func WhenIs(target error, p Policy) ErrorPolicy {
	return ErrorPolicy{Match: func(err error) bool { return errors.Is(err, target) }, Policy: p}
}

// WhenAs is the policy for errors in which errors.As finds an E.
func WhenAs[E error](p Policy) ErrorPolicy {
	return ErrorPolicy{Match: func(err error) bool { return errors.As(err, new(E)) }, Policy: p}
}

// Never is the policy of an error that is not to be tried again: one attempt.
var Never = Policy{Attempts: 1}

// Validate reports what in p cannot be meant. Its error names the field and the remedy.
func (p Policy) Validate() error {
	switch f := p.Backoff.Factor; {
	case p.Attempts < 0:
		return fmt.Errorf("retry: Attempts is %d, it has to be 1 or more (0 means %d)", p.Attempts, DefaultAttempts)
	case f != 0 && !(f >= 1) || math.IsInf(f, 1):
		return fmt.Errorf("retry: Backoff.Factor is %v, it has to be 1 or more (0 means %d)", f, DefaultFactor)
	case p.Backoff.Min < 0, p.Backoff.Max < 0, p.MaxWait < 0, p.InPlace < 0:
		return errors.New("retry: Backoff.Min, Backoff.Max, InPlace and MaxWait cannot be negative (0 means the default)")
	}
	for i, e := range p.Errors {
		if err := e.validate(); err != nil {
			return fmt.Errorf("retry: Errors[%d]: %w", i, err)
		}
	}
	return nil
}

func (e ErrorPolicy) validate() error {
	switch {
	case e.Match == nil:
		return errors.New("there is no Match: make it with middleware.WhenIs or WhenAs")
	case len(e.Policy.Errors) > 0:
		return errors.New("its Policy has Errors of its own: list them all in the outer one")
	}
	return e.Policy.Validate()
}

func (p Policy) orDefaults() Policy {
	if p.Attempts == 0 {
		p.Attempts = DefaultAttempts
	}
	if p.MaxWait <= 0 {
		p.MaxWait = DefaultMaxWait
	}
	if p.InPlace <= 0 {
		p.InPlace = DefaultInPlace
	}
	p.Attempts = max(p.Attempts, 1)
	return p
}

// of returns the policy that holds after an attempt failed with err. A Match that panics matches nothing.
func (p Policy) of(err error) Policy {
	for _, e := range p.Errors {
		if e.matches(err) {
			return e.Policy.orDefaults()
		}
	}
	return p
}

func (e ErrorPolicy) matches(err error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return e.Match(err)
}
