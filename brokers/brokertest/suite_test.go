package brokertest

import (
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestGoodBrokersPass(t *testing.T) {
	for _, k := range []kind{plain, rich, modest} {
		t.Run(k.name, func(t *testing.T) { Run(t, k.harness(t, nil)) })
	}
}

func TestEveryCaseAppliesToAGoodBroker(t *testing.T) {
	applied := make(map[string]bool)
	for _, k := range []kind{plain, rich, modest} {
		h := k.harness(t, nil).withDefaults()
		caps := capabilitiesOf(t, h)
		for _, c := range Cases() {
			if _, missing := c.unmet(caps, h); !missing {
				applied[c.Name] = true
			}
		}
	}
	for _, c := range Cases() {
		if !applied[c.Name] {
			t.Errorf("no good broker shows that this case can be passed: %s", c.Name)
		}
	}
}

func TestCasesHaveNamesAndExplanations(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range Cases() {
		if c.Name == "" || len(c.Explanation) < 40 || seen[c.Name] {
			t.Errorf("case %q has no name, no explanation or the name of another", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestAPromiseWithoutACaseIsAnErrorOfTheSuite(t *testing.T) {
	everything := brokers.Capabilities{
		Durable: true, Groups: true, Order: brokers.OrderChannel, Attempts: true, Delay: true, Patterns: true,
		Replay: true, Dedup: true, MaxBytes: 1,
	}
	if got := unheld(everything, Cases()); len(got) > 0 {
		t.Errorf("no case for %q", got)
	}
	if got := unheld(everything, nil); len(got) != 9 {
		t.Errorf("without cases, %q are said to be unheld; wants all 9 promises", got)
	}
	onlyKeys := []Case{{needs: []need{keyOrder}}}
	if got := unheld(brokers.Capabilities{Order: brokers.OrderKey}, onlyKeys); len(got) > 0 {
		t.Errorf("order per key is held, but %q is said not to be", got)
	}
}
