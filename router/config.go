package router

import "github.com/eventbus-go/eventbus/schema"

// A Config is the rules by which events are routed, as data. Make it in Go, read it with [ParseYAML], or take [Default];
// [New] checks it.
type Config struct {
	// Prefix comes before every channel of the rules, with a dot in between. Empty means that they are whole names.
	Prefix string `yaml:"prefix"`
	// Rules are looked at in this order. All that match contribute their channels, up to one that says Stop.
	Rules []Rule `yaml:"rules"`
	// Brokers are the names that rules may use, the default one first. Package bus fills it in from its configuration. Where
	// it is empty, rules may use any name, and the default broker has none.
	Brokers []string `yaml:"-"`
}

// A Rule sends the events that it matches to channels.
type Rule struct {
	// Name is for people: in errors and explanations. It may be empty, but no two rules have the same one.
	Name string `yaml:"name"`
	// Match has patterns on the event's type, at least one; the rule matches where one of them does. In YAML, a single
	// one may be written without the list.
	Match []string `yaml:"match"`
	// When has to hold as well.
	When Condition `yaml:"when"`
	// Channels are names below the Config's Prefix, at least one. In YAML, a single one may be written without the list.
	Channels []string `yaml:"channels"`
	// Broker is the name of the broker that the channels are on; empty means the default one.
	Broker string `yaml:"broker"`
	// Fallback is the name of the broker that takes the messages of this rule while Broker is unavailable, on the same
	// channels; empty means that they wait. All rules that send to one channel of a broker name the same fallback.
	Fallback string `yaml:"fallback"`
	// Stop ends the evaluation after this rule where it matches: the rules below it are not looked at.
	Stop bool `yaml:"stop"`
}

// A Condition narrows a rule. All that is set has to hold; the zero value always holds. It reads nothing but the event's
// source and priority, so that a route can be cached on those and the type.
type Condition struct {
	// Sources has names or patterns of publishing services; empty means all. In YAML, a single one may be written without
	// the list.
	Sources []string `yaml:"sources"`
	// Priorities lists the priorities; empty means all. In YAML they are written by name, a single one without the list.
	Priorities []schema.Priority `yaml:"priorities"`
	// MinPriority is the lowest priority; nil means all. In YAML it is written by name.
	MinPriority *schema.Priority `yaml:"min_priority"`
}

// DefaultPrefix is the prefix of the user service's channels.
const DefaultPrefix = "user_service.events"

// Default returns the rules of the user service: each event goes to the channel of its domain, to "security" where that
// has to know, and to "all". The caller may change what it gets.
func Default() Config {
	return Config{
		Prefix: DefaultPrefix,
		Rules: []Rule{
			{Name: "user", Match: []string{"user.*", "preferences.*"}, Channels: []string{"user"}},
			{
				Name:     "auth",
				Match:    []string{"login.*", "logout", "token.*", "mfa.*", "password.*", "session.*"},
				Channels: []string{"auth"},
			},
			{Name: "authz", Match: []string{"permission.*", "role.*"}, Channels: []string{"authz"}},
			{
				Name:     "trading_account",
				Match:    []string{"trading_account.*", "membership.*"},
				Channels: []string{"trading_account"},
			},
			{
				Name: "security",
				Match: []string{
					"role.assigned", "role.revoked", "mfa.enabled", "mfa.disabled", "user.deactivated", "login.failed",
					"password.reset_requested",
				},
				Channels: []string{"security"},
			},
			{Name: "all", Match: []string{">"}, Channels: []string{"all"}},
		},
	}
}
