package router_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func mustNew(t testing.TB, cfg router.Config) *router.Router {
	t.Helper()
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// channelsOf routes one event and returns the channels without the default prefix.
func channelsOf(t testing.TB, r *router.Router, eventType, source string, p schema.Priority) []string {
	t.Helper()
	route, err := r.Route(eventType, source, p)
	if err != nil {
		t.Fatalf("%s: %v", eventType, err)
	}
	var short []string
	for _, ch := range route.Channels {
		short = append(short, strings.TrimPrefix(ch, "user_service.events."))
	}
	return short
}

// The table of the contract, written out by event.
var defaultTable = map[string]string{
	"user.registered":          "user all",
	"user.updated":             "user all",
	"user.activated":           "user all",
	"user.deactivated":         "user security all",
	"user.deleted":             "user all",
	"login.success":            "auth all",
	"login.failed":             "auth security all",
	"logout":                   "auth all",
	"token.refreshed":          "auth all",
	"mfa.enabled":              "auth security all",
	"mfa.disabled":             "auth security all",
	"mfa.verified":             "auth all",
	"mfa.failed":               "auth all",
	"permission.granted":       "authz all",
	"permission.revoked":       "authz all",
	"role.assigned":            "authz security all",
	"role.revoked":             "authz security all",
	"preferences.updated":      "user all",
	"trading_account.linked":   "trading_account all",
	"trading_account.unlinked": "trading_account all",
	"trading_account.updated":  "trading_account all",
	"membership.granted":       "trading_account all",
	"membership.revoked":       "trading_account all",
	"password.changed":         "auth all",
	"password.reset_requested": "auth security all",
	"password.reset_completed": "auth all",
	"session.created":          "auth all",
	"session.revoked":          "auth all",
}

func TestTheDefaultRulesAreTheTableOfTheContract(t *testing.T) {
	if len(defaultTable) != 28 {
		t.Fatalf("the table has %d events, the contract 28", len(defaultTable))
	}
	r := mustNew(t, router.Default())
	for eventType, want := range defaultTable {
		for p := schema.Low; p <= schema.Critical; p++ {
			if got := strings.Join(channelsOf(t, r, eventType, "user_service", p), " "); got != want {
				t.Errorf("%s at priority %v goes to %q, want %q", eventType, p, got, want)
			}
		}
	}
	want := []string{"all", "auth", "authz", "security", "trading_account", "user"}
	for i := range want {
		want[i] = "user_service.events." + want[i]
	}
	if got := r.Channels(); !slices.Equal(got, want) {
		t.Errorf("the channels are %v, want %v", got, want)
	}
}

func TestTheCallerMayChangeWhatDefaultReturns(t *testing.T) {
	changed := router.Default()
	changed.Prefix = "shop"
	changed.Rules[0].Match[0] = "order.*"
	changed.Rules = changed.Rules[:1]
	if again := router.Default(); again.Prefix != router.DefaultPrefix || again.Rules[0].Match[0] != "user.*" {
		t.Error("a change of one is seen in the next")
	}
}

func TestARouterKeepsNoReferenceToItsConfig(t *testing.T) {
	cfg := router.Default()
	r := mustNew(t, cfg)
	for i := range cfg.Rules {
		cfg.Rules[i].Match[0], cfg.Rules[i].Channels[0] = "x", "x"
	}
	if got := channelsOf(t, r, "user.updated", "s", schema.Normal); !slices.Equal(got, []string{"user", "all"}) {
		t.Errorf("got %v after the Config was changed", got)
	}
	x := r.Explain(schema.Event{Type: "x.y"})
	if strings.Contains(x.String(), "no match: x") {
		t.Error("the explanation shows the changed Config")
	}
}

func priority(p schema.Priority) *schema.Priority { return &p }

func TestConditionsNarrowARule(t *testing.T) {
	const low, normal, high, critical = schema.Low, schema.Normal, schema.High, schema.Critical
	for _, tt := range []struct {
		name     string
		when     router.Condition
		source   string
		priority schema.Priority
		want     bool
	}{
		{"the zero value always holds", router.Condition{}, "shop", low, true},
		{"even for a priority that is none", router.Condition{}, "shop", 7, true},
		{"a source by name", router.Condition{Sources: []string{"shop"}}, "shop", normal, true},
		{"not another one", router.Condition{Sources: []string{"shop"}}, "shop2", normal, false},
		{"any of several", router.Condition{Sources: []string{"shop", "billing"}}, "billing", normal, true},
		{"a source by pattern", router.Condition{Sources: []string{"shop.*"}}, "shop.eu", normal, true},
		{"", router.Condition{Sources: []string{"shop.*"}}, "shop", normal, false},
		{"a source that is no name by the grammar", router.Condition{Sources: []string{"Shop 1"}}, "Shop 1", normal, true},
		{"no source is not every source", router.Condition{Sources: []string{"shop"}}, "", normal, false},
		{"a list of priorities", router.Condition{Priorities: []schema.Priority{low, critical}}, "", critical, true},
		{"", router.Condition{Priorities: []schema.Priority{low, critical}}, "", high, false},
		{"a lowest priority", router.Condition{MinPriority: priority(high)}, "", high, true},
		{"and above", router.Condition{MinPriority: priority(high)}, "", critical, true},
		{"but not below", router.Condition{MinPriority: priority(high)}, "", normal, false},
		{"all that is set has to hold", router.Condition{
			Sources: []string{"shop"}, Priorities: []schema.Priority{low, high}, MinPriority: priority(normal),
		}, "shop", high, true},
		{"", router.Condition{Priorities: []schema.Priority{low, high}, MinPriority: priority(normal)}, "", low, false},
		{"a priority that is none fits no condition", router.Condition{MinPriority: priority(high)}, "", 7, false},
	} {
		r := mustNew(t, router.Config{Rules: []router.Rule{
			{Match: []string{"order.*"}, When: tt.when, Channels: []string{"yes"}},
			{Match: []string{">"}, Channels: []string{"rest"}},
		}})
		got := channelsOf(t, r, "order.placed", tt.source, tt.priority)[0] == "yes"
		if got != tt.want {
			t.Errorf("%s: %v for source %q and priority %v: %v, want %v", tt.name, tt.when, tt.source, tt.priority, got, tt.want)
		}
	}
}

func TestAllMatchingRulesContributeUntilOneSaysStop(t *testing.T) {
	rules := []router.Rule{
		{Name: "a", Match: []string{"order.*"}, Channels: []string{"x", "y"}},
		{Name: "b", Match: []string{"order.paid"}, When: router.Condition{Sources: []string{"shop"}},
			Channels: []string{"z", "x"}, Stop: true},
		{Name: "c", Match: []string{">"}, Channels: []string{"y", "all"}},
	}
	r := mustNew(t, router.Config{Rules: rules})
	for _, tt := range []struct{ eventType, source, want string }{
		{"order.placed", "shop", "x y all"},
		{"order.paid", "shop", "x y z"},
		{"order.paid", "billing", "x y all"}, // a stop rule that does not match does not stop
		{"user.updated", "shop", "y all"},
	} {
		if got := strings.Join(channelsOf(t, r, tt.eventType, tt.source, 0), " "); got != tt.want {
			t.Errorf("%s from %s goes to %q, want %q", tt.eventType, tt.source, got, tt.want)
		}
	}
}

func TestChannelsAreBelowThePrefixAndWholeWithoutOne(t *testing.T) {
	rules := []router.Rule{{Match: []string{">"}, Channels: []string{"a.b"}}}
	for prefix, want := range map[string]string{"": "a.b", "shop": "shop.a.b"} {
		r := mustNew(t, router.Config{Prefix: prefix, Rules: rules})
		if got := channelsOf(t, r, "x", "", 0); got[0] != want {
			t.Errorf("with the prefix %q: %v, want %s", prefix, got, want)
		}
	}
}

func TestAnEventThatNoRuleMatchesIsAnErrorWithTheRemedy(t *testing.T) {
	r := mustNew(t, router.Config{Rules: []router.Rule{
		{Name: "orders", Match: []string{"order.*"}, Channels: []string{"x"}},
		{Match: []string{"user.*"}, When: router.Condition{MinPriority: priority(schema.High)}, Channels: []string{"x"}},
	}})
	for range 2 { // the second answer is from the cache
		route, err := r.Route("user.updated", "shop", schema.Low)
		var none *router.NoRouteError
		if route != nil || !errors.As(err, &none) || none.Type != "user.updated" || len(none.Tried) != 2 {
			t.Fatalf("got %v, %v", route, err)
		}
		want := `router: no rule sends "user.updated" (source "shop", priority low) anywhere; tried orders (order.*); ` +
			`rules[1] (user.* when priority high or more); add a rule that matches it, or a last one with match: ">"`
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
}

func TestALongListOfTriedRulesIsCut(t *testing.T) {
	var rules []router.Rule
	for range 500 {
		rules = append(rules, router.Rule{Match: []string{"order.*"}, Channels: []string{"x"}})
	}
	_, err := mustNew(t, router.Config{Rules: rules}).Route("user.updated", "", 0)
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "and 490 more") {
		t.Errorf("got %v", err)
	}
}

func TestATypeThatIsNoneGoesNowhere(t *testing.T) {
	r := mustNew(t, router.Default())
	for _, s := range []string{"", "user.*", ">", "User.Updated", "user..updated", strings.Repeat("a", 10000)} {
		if route, err := r.Route(s, "", 0); err == nil {
			t.Errorf("%.20q goes to %v", s, route.Channels)
		}
	}
}

func TestAConfigThatCannotBeMeantIsRefusedWithPlaceAndRemedy(t *testing.T) {
	ok := router.Rule{Name: "ok", Match: []string{"order.*"}, Channels: []string{"x"}}
	with := func(change func(*router.Rule)) router.Config {
		bad := router.Rule{Name: "bad", Match: []string{"user.*"}, Channels: []string{"y"}}
		change(&bad)
		return router.Config{Rules: []router.Rule{ok, bad}}
	}
	for _, tt := range []struct {
		name string
		cfg  router.Config
		want string
	}{
		{"no rules", router.Config{}, "router: rules: there is none, so no event could go anywhere; add rules, " +
			"or leave the configuration out for the default ones"},
		{"a prefix", router.Config{Prefix: "Shop", Rules: []router.Rule{ok}},
			`router: prefix: "Shop": at byte 0: 'S' is a capital letter, write 's'`},
		{"a pattern", with(func(r *router.Rule) { r.Match = []string{"a.*", "b>"} }),
			`router: rules[1] (bad): match[1]: "b>": at byte 1: "*" and ">" have to be whole tokens, such as in user.* or user.>`},
		{"no patterns", with(func(r *router.Rule) { r.Match = nil }),
			`router: rules[1] (bad): match: no pattern is given; name the event types, such as role.*, or ">" for all`},
		{"no channels", with(func(r *router.Rule) { r.Channels = nil }),
			`router: rules[1] (bad): channels: no channel is given; name at least one, such as audit`},
		{"an empty channel", with(func(r *router.Rule) { r.Channels = []string{""} }),
			`router: rules[1] (bad): channels[0]: "": at byte 0: it is empty, write tokens separated by dots, ` +
				`such as user.registered`},
		{"a wildcard channel", with(func(r *router.Rule) { r.Channels = []string{"x", "y.*"} }),
			`router: rules[1] (bad): channels[1]: "y.*": at byte 2: '*' is a wildcard, only patterns have those: ` +
				`write the name out`},
		{"a source", with(func(r *router.Rule) { r.When.Sources = []string{"shop*"} }),
			`router: rules[1] (bad): when.sources[0]: "shop*": at byte 4: "*" and ">" have to be whole tokens, ` +
				`such as in user.* or user.>`},
		{"a source with control characters", with(func(r *router.Rule) { r.When.Sources = []string{"a\nb"} }),
			`router: rules[1] (bad): when.sources[0]: "a\nb" is no name of a service; use at most 128 bytes and no control characters`},
		{"a priority", with(func(r *router.Rule) { r.When.Priorities = []schema.Priority{9} }),
			`router: rules[1] (bad): when.priorities[0]: Priority(9) is no priority; use low, normal, high or critical`},
		{"a lowest priority", with(func(r *router.Rule) { r.When.MinPriority = priority(9) }),
			`router: rules[1] (bad): when.min_priority: Priority(9) is no priority; use low, normal, high or critical`},
		{"priorities that exclude each other", with(func(r *router.Rule) {
			r.When = router.Condition{Priorities: []schema.Priority{schema.Low}, MinPriority: priority(schema.High)}
		}), `router: rules[1] (bad): when: none of the priorities is at least high, so the rule matches nothing; ` +
			`keep priorities or min_priority, not both`},
		{"a name twice", with(func(r *router.Rule) { r.Name = "ok" }),
			`router: rules[1] (ok): name: rules[0] has the same name; rename one of them`},
		{"a name with a line end", with(func(r *router.Rule) { r.Name = "a\nb" }),
			`router: rules[1]: name: "a\nb" is no name for a rule; use at most 128 bytes and no control characters`},
		{"too long with the prefix", router.Config{Prefix: "p", Rules: []router.Rule{
			{Match: []string{">"}, Channels: []string{strings.Repeat("c", 199)}},
		}}, `router: rules[0]: channels[0]: "p.` + strings.Repeat("c", 198) + `": at byte 200: it is 201 bytes long, ` +
			`at most 200 are allowed; shorten the channel or the prefix`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := router.New(tt.cfg)
			var bad *router.ConfigError
			if !errors.As(err, &bad) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestARuleThatIsNeverReachedIsRefused(t *testing.T) {
	stop := func(match string, when router.Condition) router.Rule {
		return router.Rule{Match: []string{match}, When: when, Channels: []string{"x"}, Stop: true}
	}
	rule := func(when router.Condition, match ...string) router.Rule {
		return router.Rule{Name: "late", Match: match, When: when, Channels: []string{"x"}}
	}
	always := router.Condition{}
	shop := router.Condition{Sources: []string{"shop"}}
	high := router.Condition{MinPriority: priority(schema.High)}
	critical := router.Condition{Priorities: []schema.Priority{schema.Critical}}
	for _, tt := range []struct {
		name  string
		rules []router.Rule
		by    string // "" means reachable
	}{
		{"all stops", []router.Rule{stop(">", always), rule(always, "a")}, "rules[0]"},
		{"the same pattern", []router.Rule{stop("a.*", always), rule(always, "a.*")}, "rules[0]"},
		{"a wider pattern", []router.Rule{stop("a.*", always), rule(always, "a.>")}, ""},
		{"one of two patterns is left", []router.Rule{stop("a.*", always), rule(always, "a.b", "b.c")}, ""},
		{"each is stopped by another", []router.Rule{stop("a.*", always), stop("b.*", always), rule(always, "a.b", "b.c")},
			"rules[0] and rules[1]"},
		{"a condition lets some through", []router.Rule{stop(">", shop), rule(always, "a")}, ""},
		{"a condition that covers it", []router.Rule{stop(">", shop), rule(shop, "a")}, "rules[0]"},
		{"a pattern of sources that covers it", []router.Rule{
			stop(">", router.Condition{Sources: []string{"*"}}), rule(shop, "a"),
		}, "rules[0]"},
		{"other sources", []router.Rule{
			stop(">", shop), rule(router.Condition{Sources: []string{"shop", "billing"}}, "a"),
		}, ""},
		{"priorities within", []router.Rule{stop(">", high), rule(critical, "a")}, "rules[0]"},
		{"priorities beyond", []router.Rule{stop(">", critical), rule(high, "a")}, ""},
		{"every priority is said to be enough", []router.Rule{
			stop(">", router.Condition{MinPriority: priority(schema.Low)}), rule(always, "a"),
		}, "rules[0]"},
		{"no stop", []router.Rule{{Match: []string{">"}, Channels: []string{"x"}}, rule(always, "a")}, ""},
	} {
		_, err := router.New(router.Config{Rules: tt.rules})
		switch {
		case tt.by == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.by != "" && (err == nil || !strings.Contains(err.Error(), "(late): it is never reached: all that it could "+
			"match stops at "+tt.by+"; move it up, or take stop away")):
			t.Errorf("%s: got %v, want it refused because of %s", tt.name, err, tt.by)
		}
	}
}
