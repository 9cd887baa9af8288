package brokertest

import (
	"reflect"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Case is one rule of the contract.
type Case struct {
	// Name is the rule in a sentence.
	Name string
	// Explanation says why the rule exists and what breaks in a service without it.
	Explanation string

	needs []need
	run   func(w *world)
	// waits marks a case that mostly waits and leaves the server in peace: those are run at the same time.
	waits bool
}

// A need is a condition for a case to apply: a promise that the connection makes, one that it does not make, or a fault
// that the harness can cause.
type need struct {
	// field is the promise's name in brokers.Capabilities; empty where the need is none.
	field string
	// text completes "not promised: " or "not tested: ".
	text string
	met  func(c brokers.Capabilities, h Harness) bool
}

func promise(field string, made func(brokers.Capabilities) bool) need {
	field, level, _ := strings.Cut(field, " ")
	met := func(c brokers.Capabilities, _ Harness) bool { return made(c) }
	return need{field: field, text: strings.TrimSpace(field + " " + level), met: met}
}

// without selects a case for connections that do not make the promise: they have to say so.
func without(n need) need {
	return need{text: "only where " + n.field + " is not promised", met: func(c brokers.Capabilities, h Harness) bool {
		return !n.met(c, h)
	}}
}

func fault(text string, has func(Harness) bool) need {
	return need{text: text, met: func(_ brokers.Capabilities, h Harness) bool { return has(h) }}
}

// The promises of brokers.Capabilities, and the faults of Harness.
var (
	durable  = promise("Durable", func(c brokers.Capabilities) bool { return c.Durable })
	groups   = promise("Groups", func(c brokers.Capabilities) bool { return c.Groups })
	keyOrder = promise("Order key", func(c brokers.Capabilities) bool { return c.Order >= brokers.OrderKey })
	chOrder  = promise("Order channel", func(c brokers.Capabilities) bool { return c.Order >= brokers.OrderChannel })
	attempts = promise("Attempts", func(c brokers.Capabilities) bool { return c.Attempts })
	delay    = promise("Delay", func(c brokers.Capabilities) bool { return c.Delay })
	patterns = promise("Patterns", func(c brokers.Capabilities) bool { return c.Patterns })
	replay   = promise("Replay", func(c brokers.Capabilities) bool { return c.Replay })
	dedup    = promise("Dedup", func(c brokers.Capabilities) bool { return c.Dedup })
	maxBytes = promise("MaxBytes", func(c brokers.Capabilities) bool { return c.MaxBytes > 0 })

	canInject = fault("the harness cannot inject", func(h Harness) bool { return h.Inject != nil })
	canKill   = fault("the harness cannot kill", func(h Harness) bool { return h.Kill != nil && h.Restart != nil })
	canFreeze = fault("the harness cannot freeze", func(h Harness) bool { return h.Freeze != nil && h.Thaw != nil })
	canDelete = fault("the harness cannot delete", func(h Harness) bool { return len(h.Delete) > 0 })
	hasLease  = fault("the harness names no lease", func(h Harness) bool { return h.Lease > 0 })
	hasOthers = fault("the harness starts no other process", func(h Harness) bool { return h.Consume != nil })
	handsOver = fault("the client reads ahead", func(h Harness) bool { return !h.ReadsAhead })
	canCut    = fault("the harness cannot cut", func(h Harness) bool { return h.Cut != nil })
)

// Cases returns all rules, in the order in which Run checks them.
func Cases() []Case {
	var all []Case
	for _, file := range [][]Case{
		publishCases, readingCases, subscribeCases, orderCases, groupCases, redeliveryCases, attemptCases, delayCases,
		patternCases, limitCases, malformedCases, gapCases, frozenCases, durableCases, refusalCases, closeCases, killedCases, deletedCases,
		poisonCases, leaseCases, churnCases, leakCases,
	} {
		all = append(all, file...)
	}
	return all
}

// unmet returns the first need of the case that is not met, if any.
func (c Case) unmet(caps brokers.Capabilities, h Harness) (need, bool) {
	for _, n := range c.needs {
		if !n.met(caps, h) {
			return n, true
		}
	}
	return need{}, false
}

// unheld returns the promises that caps makes and that no case holds the driver to.
func unheld(caps brokers.Capabilities, cases []Case) []string {
	var out []string
	v := reflect.ValueOf(caps)
	for i := range v.NumField() {
		if field := v.Type().Field(i).Name; !v.Field(i).IsZero() && !holds(cases, field, caps) {
			out = append(out, field)
		}
	}
	return out
}

// holds reports whether a case needs the promise, as caps makes it.
func holds(cases []Case, field string, caps brokers.Capabilities) bool {
	for _, c := range cases {
		for _, n := range c.needs {
			if n.field == field && n.met(caps, Harness{}) {
				return true
			}
		}
	}
	return false
}
