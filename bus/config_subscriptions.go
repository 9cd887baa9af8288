package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/internal/yamlfile"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// SubscriptionConfig is what a configuration says of a subscription. What it sets replaces what the code says, so that an
// operator has the last word; what is left at its zero value is the code's.
type SubscriptionConfig struct {
	// Retry replaces Subscription.Retry but for its Errors, where Attempts is set.
	Retry RetryPolicy
	// Errors are policies for some errors, by the names that [WithError] gave them, "timeout" and "panic" besides. They
	// come before those of Subscription.Retry.Errors, in the order in which the names were given.
	Errors map[string]RetryPolicy
	// Concurrency, Prefetch and Timeout replace those of the Subscription.
	Concurrency int
	Prefetch    int
	Timeout     time.Duration
	// KeepOrder turns Subscription.KeepOrder on.
	KeepOrder bool
	// Priorities replaces that of the Subscription.
	Priorities Priorities
	// Batch replaces those fields of Subscription.Batch that are not 0.
	Batch BatchConfig
	// Paused has the subscription begin paused, whatever the code says; see [Sub.Resume].
	Paused bool
	// Dedup is what is said of Subscription.Dedup; nil leaves it as it is.
	Dedup *DedupConfig
	// Stuck, Rate and Breaker replace those of the Subscription where they are not their zero values. NoRate and NoBreaker turn
	// off what the code says.
	Stuck   StuckPolicy
	Rate    RateLimit
	Breaker BreakerPolicy
}

// check reports the first value that cannot be meant.
func (c SubscriptionConfig) check(name string) error {
	at := "subscriptions." + name + "."
	if err := cmp.Or(
		inRange(at+"concurrency", c.Concurrency, 0, 1<<16),
		inRange(at+"prefetch", c.Prefetch, 0, 1<<24),
		inRange(at+"timeout", c.Timeout, NoTimeout, 24*time.Hour),
		c.Dedup.check(at+"dedup"),
		c.Batch.check(at+"batch."),
	); err != nil {
		return err
	}
	if err := c.Stuck.check(c.Timeout); err != nil {
		return &ConfigError{at + "stuck", err.Error()}
	}
	if err := c.Rate.check(); err != nil {
		return &ConfigError{at + "rate", err.Error()}
	}
	if err := c.Breaker.check(); err != nil {
		return &ConfigError{at + "breaker", err.Error()}
	}
	if err := c.Retry.Validate(); err != nil {
		return &ConfigError{at + "retry", err.Error()}
	}
	for _, e := range slices.Sorted(maps.Keys(c.Errors)) {
		if err := c.Errors[e].Validate(); err != nil {
			return &ConfigError{at + "errors." + e, err.Error()}
		}
	}
	return nil
}

func (c *Config) checkSubscriptions() error {
	for _, name := range slices.Sorted(maps.Keys(c.Subscriptions)) {
		if err := c.Subscriptions[name].check(name); err != nil {
			return err
		}
	}
	return nil
}

// A namedError is a kind of error that a configuration can name.
type namedError struct {
	name  string
	match func(error) bool
}

// builtinErrors come after those of the program.
var builtinErrors = []namedError{
	{"timeout", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	{"panic", func(err error) bool { return errors.As(err, new(*middleware.PanicError)) }},
}

// apply sets in s what the configuration says.
func (c SubscriptionConfig) apply(s *Subscription, named []namedError) error {
	s.Concurrency = cmp.Or(c.Concurrency, s.Concurrency)
	s.Prefetch = cmp.Or(c.Prefetch, s.Prefetch)
	s.Timeout = cmp.Or(c.Timeout, s.Timeout)
	s.KeepOrder = s.KeepOrder || c.KeepOrder
	s.Priorities = cmp.Or(c.Priorities, s.Priorities)
	s.Paused = c.Paused || s.Paused
	s.Batch.MaxEvents = cmp.Or(c.Batch.MaxEvents, s.Batch.MaxEvents)
	s.Batch.MaxWait = cmp.Or(c.Batch.MaxWait, s.Batch.MaxWait)
	c.Dedup.apply(&s.Dedup)
	s.Stuck = cmp.Or(c.Stuck, s.Stuck)
	s.Rate = cmp.Or(c.Rate, s.Rate)
	if c.Breaker.Failures != 0 {
		s.Breaker = c.Breaker
	}
	if c.Retry.Attempts != 0 {
		errs := s.Retry.Errors
		s.Retry = c.Retry
		s.Retry.Errors = errs
	}
	var errs []middleware.ErrorPolicy
	var names []string
	for _, n := range append(slices.Clone(named), builtinErrors...) {
		names = append(names, n.name)
		if p, ok := c.Errors[n.name]; ok {
			errs = append(errs, middleware.ErrorPolicy{Name: n.name, Match: n.match, Policy: p})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Errors)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("subscriptions.%s.errors names %q, which is no error of this program (%s): name it by bus.WithError",
				s.Name, name, strings.Join(names, ", "))
		}
	}
	s.Retry.Errors = append(errs, s.Retry.Errors...)
	return nil
}

// checkConfigured refuses settings of subscriptions that there are not. b.mu is held.
func (b *Bus) checkConfigured() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.configured)) {
		if b.subs[name] == nil {
			errs = append(errs, &SubscriptionError{Name: name, Err: fmt.Errorf(
				"the configuration has settings for it, and the program has no subscription of that name (%s): correct "+
					"the name, or remove them", strings.Join(slices.Sorted(maps.Keys(b.subs)), ", "))})
		}
	}
	return errors.Join(errs...)
}

// subscriptionFile is the shape of a SubscriptionConfig.
type subscriptionFile struct {
	Retry       retryPolicyText            `yaml:"retry"`
	Errors      map[string]retryPolicyText `yaml:"errors"`
	Concurrency int                        `yaml:"concurrency"`
	Prefetch    int                        `yaml:"prefetch"`
	Timeout     duration                   `yaml:"timeout"`
	Priorities  prioritiesText             `yaml:"priorities"`
	Paused      bool                       `yaml:"paused"`
	Batch       batchFile                  `yaml:"batch"`
	Dedup       *dedupFile                 `yaml:"dedup"`
	Stuck       stuckPolicyText            `yaml:"stuck"`
	KeepOrder   bool                       `yaml:"keep_order"`
	Rate        rateLimitText              `yaml:"rate"`
	Breaker     breakerPolicyText          `yaml:"breaker"`
}

func subscriptionConfigs(files map[string]subscriptionFile) map[string]SubscriptionConfig {
	if len(files) == 0 {
		return nil
	}
	out := make(map[string]SubscriptionConfig, len(files))
	for name, f := range files {
		c := SubscriptionConfig{
			Retry: RetryPolicy(f.Retry), Concurrency: f.Concurrency, Prefetch: f.Prefetch, Timeout: time.Duration(f.Timeout),
			Dedup: f.Dedup.config(), KeepOrder: f.KeepOrder,
			Stuck: StuckPolicy(f.Stuck), Rate: RateLimit(f.Rate), Breaker: BreakerPolicy(f.Breaker),
			Priorities: Priorities(f.Priorities), Paused: f.Paused,
			Batch: BatchConfig{f.Batch.MaxEvents, time.Duration(f.Batch.MaxWait)},
		}
		for e, p := range f.Errors {
			if c.Errors == nil {
				c.Errors = make(map[string]RetryPolicy, len(f.Errors))
			}
			c.Errors[e] = RetryPolicy(p)
		}
		out[name] = c
	}
	return out
}

type rateLimitText RateLimit

// UnmarshalYAML reads a limit as ParseRateLimit does.
func (r *rateLimitText) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := ParseRateLimit(s)
		*r = rateLimitText(v)
		return err
	})
}

type breakerPolicyText BreakerPolicy

// UnmarshalYAML reads a policy as ParseBreakerPolicy does.
func (p *breakerPolicyText) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := ParseBreakerPolicy(s)
		*p = breakerPolicyText(v)
		return err
	})
}

type stuckPolicyText StuckPolicy

// UnmarshalYAML reads a policy as ParseStuckPolicy does.
func (p *stuckPolicyText) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := ParseStuckPolicy(s)
		*p = stuckPolicyText(v)
		return err
	})
}

type retryPolicyText RetryPolicy

// UnmarshalYAML reads a policy as middleware.ParsePolicy does.
func (p *retryPolicyText) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := middleware.ParsePolicy(s)
		*p = retryPolicyText(v)
		return err
	})
}

// batchFile is the shape of a BatchConfig.
type batchFile struct {
	MaxEvents int      `yaml:"max_events"`
	MaxWait   duration `yaml:"max_wait"`
}

type prioritiesText Priorities

// UnmarshalYAML reads on or off.
func (p *prioritiesText) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := ParsePriorities(s)
		*p = prioritiesText(v)
		return err
	})
}
