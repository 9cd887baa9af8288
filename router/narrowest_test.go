package router_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func patterns(t testing.TB, texts string) (all []router.Pattern) {
	t.Helper()
	for _, s := range strings.Fields(texts) {
		p, err := router.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestTheNarrowestChannelOfTheDefaultRules(t *testing.T) {
	r := mustNew(t, router.Default())
	for types, want := range map[string]string{
		"role.*":        "authz",
		"role.assigned": "security", // seven types by name are less than two patterns
		"role.assigned mfa.disabled login.failed": "security",
		"permission.granted":                      "authz",
		"permission.* role.assigned":              "authz",
		"user.registered mfa.enabled":             "all",
		"user.registered":                         "user",
		"logout":                                  "auth",
		"user.>":                                  "all", // user.* has one token only
		"unknown.*":                               "all",
		">":                                       "all",
		"*":                                       "all",
		"trading_account.linked membership.*":     "trading_account",
	} {
		got, err := r.Narrowest(patterns(t, types))
		if err != nil || got != "user_service.events."+want {
			t.Errorf("%s: got %q, %v; want %s", types, got, err, want)
		}
	}
}

func TestNarrowestLooksAtConditionsAndStops(t *testing.T) {
	shop := router.Condition{Sources: []string{"shop"}}
	rule := func(match, channels string, when router.Condition, stop bool) router.Rule {
		return router.Rule{Match: strings.Fields(match), Channels: strings.Fields(channels), When: when, Stop: stop}
	}
	always := router.Condition{}
	for _, tt := range []struct {
		name  string
		rules []router.Rule
		types string
		want  string // "" means none
	}{
		{"a rule with a condition is no promise",
			[]router.Rule{rule("a", "x", shop, false), rule(">", "all", always, false)}, "a", "all"},
		{"but makes its channel wider", []router.Rule{
			rule("a", "x", always, false), rule("b.>", "x", shop, false), rule("a c", "y", always, false),
		}, "a", "y"},
		{"what stops above does not arrive",
			[]router.Rule{rule("a", "x", always, true), rule(">", "all", always, false)}, "*", ""},
		{"also where only some stop",
			[]router.Rule{rule("a", "x", shop, true), rule(">", "all", always, false)}, "a", ""},
		{"unless it goes to the same channel",
			[]router.Rule{rule("a", "x all", shop, true), rule(">", "all", always, false)}, "a", "all"},
		{"or is about other types",
			[]router.Rule{rule("b", "x", always, true), rule(">", "all", always, false)}, "a", "all"},
		{"or comes later",
			[]router.Rule{rule(">", "all", always, false), rule("a", "x", always, true)}, "b", "all"},
		{"a stop rule carries what it matches itself",
			[]router.Rule{rule("a", "x", always, true), rule(">", "all", always, false)}, "a", "x"},
		{"fewer patterns are narrower", []router.Rule{
			rule("a b", "two", always, false), rule("a", "one", always, false),
		}, "a", "one"},
		{"a pattern that two rules have counts once", []router.Rule{
			rule("a b", "two", always, false), rule("a", "one", always, false), rule("a", "one z", always, false),
			rule("a", "one", shop, false),
		}, "a", "one"},
		{"of equals the first", []router.Rule{rule("a", "x y", always, false)}, "a", "x"},
		{"one channel has to carry them all", []router.Rule{
			rule("a", "x", always, false), rule("b", "y", always, false),
		}, "a b", ""},
		{"nothing at all", []router.Rule{rule("a", "x", always, false)}, "b", ""},
	} {
		r := mustNew(t, router.Config{Rules: tt.rules})
		got, err := r.Narrowest(patterns(t, tt.types))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestWithoutAChannelForAllTheErrorSaysWhichCarryEach(t *testing.T) {
	r := mustNew(t, router.Config{Rules: []router.Rule{
		{Match: []string{"a.*"}, Channels: []string{"x", "y"}}, {Match: []string{"b"}, Channels: []string{"z"}},
	}})
	_, err := r.Narrowest(patterns(t, "a.* b c"))
	want := "router: no one channel carries all of the event types: a.* is on x, y; b is on z; c is on no channel for " +
		"certain; name Channels in the subscription, or add a rule without a condition that sends them all to one"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := r.Narrowest(nil); err == nil {
		t.Error("no types were accepted")
	}
}

// Whatever Narrowest promises, Route keeps: an event of a type that was asked for goes to the channel.
func TestEveryEventAskedForGoesToTheNarrowestChannel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	names := []string{"a", "b", "a.a", "a.b", "b.a", "b.b", "a.b.a"}
	found := 0
	for range 3000 {
		var cfg router.Config
		for range 1 + rnd.IntN(5) {
			r := router.Rule{Stop: rnd.IntN(3) == 0}
			for range 1 + rnd.IntN(2) {
				r.Match = append(r.Match, pick("a", "b", "a.*", "*.a", "*", ">", "a.>", "*.*", "a.b"))
				r.Channels = append(r.Channels, fmt.Sprint("c", rnd.IntN(3)))
			}
			if rnd.IntN(3) == 0 {
				r.When.Sources = []string{pick("s", "t")}
			}
			cfg.Rules = append(cfg.Rules, r)
		}
		r, err := router.New(cfg)
		if err != nil {
			continue
		}
		types := patterns(t, pick("a", "a.*", "*.a", "a.>", "a b", "a.b b.a", ">", "*.b a"))
		channel, err := r.Narrowest(types)
		if err != nil {
			continue
		}
		found++
		for _, name := range names {
			if !slices.ContainsFunc(types, func(p router.Pattern) bool { return p.Match(name) }) {
				continue
			}
			for _, source := range []string{"s", "t", "u"} {
				route, err := r.Route(name, source, schema.Normal)
				if err != nil || !slices.Contains(route.Channels, channel) {
					t.Fatalf("%+v\n%v are said to be on %s, but %s from %s: %v, %v", cfg, types, channel, name, source, route, err)
				}
			}
		}
	}
	if found < 500 {
		t.Errorf("only %d of the random rules had an answer", found)
	}
}
