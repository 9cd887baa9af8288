package router_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestTheExitsOfARouteAreNumbered(t *testing.T) {
	cfg := router.Config{Prefix: "x", Brokers: []string{"main", "audit", "log"}, Rules: []router.Rule{
		{Match: []string{"a.*"}, Channels: []string{"a"}},
		{Match: []string{"a.b"}, Channels: []string{"a", "b"}, Broker: "audit"},
		{Match: []string{"a.b"}, Channels: []string{"c"}, Broker: "audit", Fallback: "log"},
		{Match: []string{">"}, Channels: []string{"all", "a"}, Broker: "main"},
	}}
	r := mustNew(t, cfg)
	exits := r.Exits()
	want := []router.Exit{{Broker: "main"}, {Broker: "audit"}, {Broker: "log"}, {Broker: "audit", Fallback: "log"}}
	if !slices.Equal(exits, want) {
		t.Errorf("the exits are %v", exits)
	}
	route, err := r.Route("a.b", "", schema.Normal)
	if got := fmt.Sprint(route.Legs, route.Channels, err); got != "[{0 [x.a x.all]} {1 [x.a x.b]} {3 [x.c]}] [x.a x.b x.c x.all] <nil>" {
		t.Errorf("the route is %s", got)
	}
	p := func(s string) router.Pattern {
		pattern, err := router.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return pattern
	}
	for s, want := range map[string]string{"x.a": "[main audit]", "x.c": "[audit log]", "x.*": "[main audit log]", "y.>": "[]"} {
		if got := fmt.Sprint(r.BrokersOf(p(s))); got != want {
			t.Errorf("%s is on %s, want %s", s, got, want)
		}
	}
	for broker, want := range map[string]string{"main": "[x.a x.all]", "audit": "[x.a x.b x.c]", "log": "[x.c]", "nope": "[]"} {
		if got := fmt.Sprint(r.ChannelsOf(broker)); got != want {
			t.Errorf("%s has %s, want %s", broker, got, want)
		}
	}
	for channel, want := range map[string]string{"x.a": "[0 1]", "x.c": "[3]", "x.all": "[0]", "y": "[]"} {
		if got := fmt.Sprint(r.ExitsOf(channel)); got != want {
			t.Errorf("%s leaves by %s, want %s", channel, got, want)
		}
	}
}

func TestAnExplanationNamesTheBrokers(t *testing.T) {
	r := mustNew(t, router.Config{Brokers: []string{"main", "audit"}, Rules: []router.Rule{
		{Name: "all", Match: []string{">"}, Channels: []string{"x"}},
		{Name: "security", Match: []string{"role.*"}, Channels: []string{"x", "y"}, Broker: "audit", Fallback: "main"},
		{Name: "again", Match: []string{"role.*"}, Channels: []string{"y"}, Broker: "audit", Fallback: "main"},
	}})
	want := `role.assigned from s, priority normal
  + all       > -> x
  + security  role.* -> x, y on audit or else main
  + again     role.* -> y (already) on audit or else main
goes to x, x on audit or else main, y on audit or else main`
	if got := r.Explain(schema.Event{Type: "role.assigned", Source: "s"}).String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRulesMayNameAnyBrokerWhereTheConfigNamesNone(t *testing.T) {
	r := mustNew(t, router.Config{Rules: []router.Rule{
		{Match: []string{"a"}, Channels: []string{"x"}, Broker: "audit", Fallback: "log"},
		{Match: []string{"b"}, Channels: []string{"y"}},
	}})
	want := []router.Exit{{}, {Broker: "audit"}, {Broker: "log"}, {Broker: "audit", Fallback: "log"}}
	if got := r.Exits(); !slices.Equal(got, want) {
		t.Errorf("the exits are %v", got)
	}
	_, err := router.New(router.Config{Rules: []router.Rule{{Match: []string{"a"}, Channels: []string{"x"}, Broker: "A b"}}})
	var ce *router.ConfigError
	if !errors.As(err, &ce) || ce.Field != "broker" {
		t.Errorf("got %v", err)
	}
}
