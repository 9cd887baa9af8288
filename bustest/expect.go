package bustest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// An Expectation is an event that a test expects: make it with [Event] or [EventNamed].
type Expectation interface {
	// check returns why p is not what is expected; nil where it is. related says that it is of the expected type.
	check(p Published) (related bool, err error)
	fmt.Stringer
}

// Expect fails the test unless the expected events were published, in that order. Events between them do not matter, and an event
// meets one expectation, also over several calls. Those of one Expect that failed meet none.
func (r *Recorder) Expect(want ...Expectation) {
	r.tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	from, taken := 0, make([]int, 0, len(want))
	for i, w := range want {
		at := r.find(w, from)
		if at < 0 {
			r.tb.Errorf("bustest: expectation %d of %d is not met: %v\n%s", i+1, len(want), w, r.explain(w, from))
			return
		}
		taken, from = append(taken, at), at+1
	}
	for _, at := range taken {
		r.met[at] = true
	}
}

// ExpectNoMore fails the test where an event was published that met no expectation, and names all of those.
func (r *Recorder) ExpectNoMore() {
	r.tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var more strings.Builder
	for i, p := range r.published {
		if !r.met[i] {
			fmt.Fprintf(&more, "  %d. %s\n", i+1, describe(p))
		}
	}
	if more.Len() > 0 {
		r.tb.Errorf("bustest: published, and not expected:\n%s", more.String())
	}
}

// find returns the first event from a place on that meets w; -1 where none does.
func (r *Recorder) find(w Expectation, from int) int {
	for i := from; i < len(r.published); i++ {
		if r.met[i] {
			continue
		}
		if _, err := w.check(r.published[i]); err == nil {
			return i
		}
	}
	return -1
}

// explain lists what was published, and why it does not meet w.
func (r *Recorder) explain(w Expectation, from int) string {
	if len(r.published) == 0 {
		return "nothing was published"
	}
	var b strings.Builder
	b.WriteString("published:\n")
	for i, p := range r.published {
		fmt.Fprintf(&b, "  %d. %s", i+1, describe(p))
		related, err := w.check(p)
		switch {
		case r.met[i]:
			b.WriteString(" (met an expectation before)")
		case err == nil && i < from:
			b.WriteString(" (comes too early: before what was expected before it)")
		case related:
			fmt.Fprintf(&b, ": %v", err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func describe(p Published) string {
	e := &p.Event
	s := e.Type
	if e.Subject != "" {
		s += " of " + e.Subject
	}
	return fmt.Sprintf("%s on %s %s", s, strings.Join(p.Channels, ", "), e.Data)
}

// An Expected says what an event of type T has to be like. Its methods return a new one that demands more.
type Expected[T any] struct {
	name   string
	is     func(e schema.Event) bool
	decode func(e schema.Event) (T, error)
	checks []check[T]
}

type check[T any] struct {
	says string
	test func(p Published, payload T) error
}

// Event expects an event of type t whose payload decodes.
func Event[T any](t *schema.Type[T]) Expected[T] {
	return Expected[T]{name: t.Name(), is: t.Is, decode: t.Decode}
}

// EventNamed expects an event whose type matches a pattern, such as "role.assigned" or "role.*". Its payload is the JSON.
func EventNamed(pattern string) Expected[string] {
	p, err := brokers.ParsePattern(pattern)
	return Expected[string]{
		name: pattern,
		is:   func(e schema.Event) bool { return err != nil || p.Match(e.Type) },
		decode: func(e schema.Event) (string, error) {
			return string(e.Data), err // of the pattern: nothing meets it, and the test says why
		},
	}
}

// Subject demands the event's subject, such as "user:123".
func (x Expected[T]) Subject(s string) Expected[T] {
	return x.equal("subject", s, func(p Published) string { return p.Event.Subject })
}

// Actor demands the event's actor.
func (x Expected[T]) Actor(s string) Expected[T] {
	return x.equal("actor", s, func(p Published) string { return p.Event.Actor })
}

// Source demands the publishing service.
func (x Expected[T]) Source(s string) Expected[T] {
	return x.equal("source", s, func(p Published) string { return p.Event.Source })
}

// Priority demands the event's priority.
func (x Expected[T]) Priority(want schema.Priority) Expected[T] {
	return x.equal("priority", want.String(), func(p Published) string { return p.Event.Priority.String() })
}

func (x Expected[T]) equal(what, want string, of func(p Published) string) Expected[T] {
	return x.with(what+" "+want, func(p Published, _ T) error {
		if got := of(p); got != want {
			return fmt.Errorf("its %s is %q, not %q", what, got, want)
		}
		return nil
	})
}

// On demands that the rules send it to each of the channels, by their full names. Others may be among them.
func (x Expected[T]) On(channels ...string) Expected[T] {
	return x.with("on "+strings.Join(channels, ", "), func(p Published, _ T) error {
		for _, c := range channels {
			if !slices.Contains(p.Channels, c) {
				return fmt.Errorf("it is not on %s", c)
			}
		}
		return nil
	})
}

// Payload demands that the payload equals want, as reflect.DeepEqual sees it.
func (x Expected[T]) Payload(want T) Expected[T] {
	return x.with(fmt.Sprintf("with %+v", want), func(_ Published, got T) error {
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("its payload is %+v", got)
		}
		return nil
	})
}

// Where demands what f does: f returns what is wrong with the event, or nil.
func (x Expected[T]) Where(f func(e schema.Event, payload T) error) Expected[T] {
	return x.with("that passes a function of the test", func(p Published, payload T) error { return f(p.Event, payload) })
}

func (x Expected[T]) with(says string, test func(Published, T) error) Expected[T] {
	x.checks = append(slices.Clip(x.checks), check[T]{says, test})
	return x
}

// String says what is expected.
func (x Expected[T]) String() string {
	s := []string{x.name}
	for _, c := range x.checks {
		s = append(s, c.says)
	}
	return strings.Join(s, ", ")
}

func (x Expected[T]) check(p Published) (related bool, err error) {
	if !x.is(p.Event) {
		return false, errors.New("it is of another type")
	}
	payload, err := x.decode(p.Event)
	if err != nil {
		return true, err
	}
	for _, c := range x.checks {
		if err := c.test(p, payload); err != nil {
			return true, err
		}
	}
	return true, nil
}
