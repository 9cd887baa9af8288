package router_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestAnExplanationSaysWhatEachRuleDidAndWhy(t *testing.T) {
	shop := router.Config{Prefix: "shop", Rules: []router.Rule{
		{Name: "orders", Match: []string{"order.*", "cart.>"}, Channels: []string{"orders", "all"}},
		{Name: "alerts", Match: []string{">"}, When: router.Condition{MinPriority: priority(schema.Critical)},
			Channels: []string{"alerts"}},
		{Match: []string{"order.*"}, When: router.Condition{Sources: []string{"pos", "till.*"}}, Channels: []string{"tills"}},
		{Name: "paid", Match: []string{"order.paid"}, Channels: []string{"all", "billing"}, Stop: true},
		{Name: "rest", Match: []string{"order.>"}, Channels: []string{"rest"}},
	}}
	for _, tt := range []struct {
		cfg  router.Config
		e    schema.Event
		want string
	}{
		{router.Default(), schema.Event{Type: "role.assigned", Source: "user_service", Priority: schema.High},
			`role.assigned from user_service, priority high
  - user             no match: user.*, preferences.*
  - auth             no match: login.*, logout, token.*, mfa.*, password.*, session.*
  + authz            role.* -> user_service.events.authz
  - trading_account  no match: trading_account.*, membership.*
  + security         role.assigned -> user_service.events.security
  + all              > -> user_service.events.all
goes to user_service.events.authz, user_service.events.security, user_service.events.all`},
		{shop, schema.Event{Type: "order.paid", Source: "web"},
			`order.paid from web, priority normal
  + orders    order.* -> shop.orders, shop.all
  - alerts    > matches, but the condition is priority critical or more
  - rules[2]  order.* matches, but the source is not pos or till.*
  + paid      order.paid -> shop.billing, shop.all (already), stop
  - rest      not reached, paid says stop
goes to shop.orders, shop.all, shop.billing`},
		{shop, schema.Event{Type: "user.updated"},
			`user.updated from (no source), priority normal
  - orders    no match: order.*, cart.>
  - alerts    > matches, but the condition is priority critical or more
  - rules[2]  no match: order.*
  - paid      no match: order.paid
  - rest      no match: order.>
goes nowhere: no rule matches`},
	} {
		if got := mustNew(t, tt.cfg).Explain(tt.e).String(); got != tt.want {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// Explain and Route are two evaluations of the rules, and so is the few lines' worth of specification here.
func TestRouteAndExplainAgreeWithTheSpecificationOnRandomRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	types := []string{"a", "b", "a.a", "a.b", "b.a", "a.b.c"}
	for range 3000 {
		var cfg router.Config
		for range 1 + rnd.IntN(5) {
			r := router.Rule{Stop: rnd.IntN(3) == 0}
			for range 1 + rnd.IntN(2) {
				r.Match = append(r.Match, pick("a", "b", "a.*", "*.a", "*", ">", "a.>", "*.*", "a.b"))
				r.Channels = append(r.Channels, pick("x", "y", "z"))
			}
			if rnd.IntN(3) == 0 {
				r.When.Sources = []string{pick("s", "t", "*")}
			}
			if rnd.IntN(3) == 0 {
				r.When.MinPriority = priority(schema.Priority(rnd.IntN(4) - 1))
			}
			cfg.Rules = append(cfg.Rules, r)
		}
		r, err := router.New(cfg)
		if err != nil { // a rule that is never reached: then it contributes nothing that is not there without it
			continue
		}
		for _, eventType := range types {
			e := schema.Event{Type: eventType, Source: pick("s", "t"), Priority: schema.Priority(rnd.IntN(4) - 1)}
			want := specified(cfg, e)
			var got []string
			if route, err := r.Route(e.Type, e.Source, e.Priority); err == nil {
				got = route.Channels
			}
			if explained := r.Explain(e).Channels; !slices.Equal(got, want) || !slices.Equal(explained, want) {
				t.Fatalf("%+v\n%s from %s at %v: routed to %v, explained as %v, want %v", cfg, e.Type, e.Source, e.Priority,
					got, explained, want)
			}
		}
	}
}

func specified(cfg router.Config, e schema.Event) (channels []string) {
	matches := func(p, s string) bool { m, _ := router.ParsePattern(p); return m.Match(s) }
	for _, r := range cfg.Rules {
		if !slices.ContainsFunc(r.Match, func(p string) bool { return matches(p, e.Type) }) ||
			r.When.MinPriority != nil && e.Priority < *r.When.MinPriority ||
			r.When.Sources != nil && !matches(r.When.Sources[0], e.Source) {
			continue
		}
		for _, ch := range r.Channels {
			if !slices.Contains(channels, ch) {
				channels = append(channels, ch)
			}
		}
		if r.Stop {
			return channels
		}
	}
	return channels
}
