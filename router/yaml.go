package router

import (
	"errors"

	"github.com/eventbus-go/eventbus/internal/pattern"
	"github.com/eventbus-go/eventbus/internal/yamlfile"
	"github.com/eventbus-go/eventbus/schema"
)

// A FileError says what is wrong in a configuration file: the line and column, the line itself with a caret, and the
// remedy. It shows no password.
type FileError = yamlfile.Error

// ParseYAML reads rules from YAML, such as
//
//	prefix: shop.events
//	rules:
//	  - name: orders
//	    match: order.*            # or a list: [order.*, cart.>]
//	    channels: orders          # or a list
//	  - name: alerts
//	    match: ">"
//	    when: { sources: [shop, billing], min_priority: high }
//	    channels: [alerts]
//	    broker: audit             # by its name; the default one where it is left out
//	    fallback: main            # while audit is unavailable
//	    stop: true
//
// It checks them as [New] does, so that New accepts what ParseYAML returns, and reports all that is wrong with line,
// column, the line itself and the remedy, as a [*FileError]. A key that it does not know is an error. The file is
// YAML of one document up to 1 MiB, without anchors, aliases, merge keys and tags.
//
// A larger configuration has the rules in a Config of its own, embedded with the tag `yaml:",inline"` or under a key, and
// decodes and locates errors in the same way, as bus.ParseConfig does.
func ParseYAML(b []byte) (Config, error) {
	f, err := yamlfile.Read(b)
	if err != nil {
		return Config{}, err
	}
	var cfg Config
	if err := f.Decode(&cfg); err != nil {
		return Config{}, err
	}
	if _, err := New(cfg); err != nil {
		return Config{}, f.Locate(err)
	}
	return cfg, nil
}

// Offset returns which byte of the value at Path is wrong, from 0.
func (e *ConfigError) Offset() int {
	if syntax := new(pattern.SyntaxError); errors.As(e.Err, &syntax) {
		return syntax.Offset
	}
	return 0
}

// UnmarshalYAML takes a text for a list of one.
func (r *Rule) UnmarshalYAML(unmarshal func(any) error) error {
	var y struct {
		Name     string    `yaml:"name"`
		Match    texts     `yaml:"match"`
		When     Condition `yaml:"when"`
		Channels texts     `yaml:"channels"`
		Broker   string    `yaml:"broker"`
		Fallback string    `yaml:"fallback"`
		Stop     bool      `yaml:"stop"`
	}
	if err := unmarshal(&y); err != nil {
		return err
	}
	*r = Rule{
		Name: y.Name, Match: y.Match, When: y.When, Channels: y.Channels, Broker: y.Broker, Fallback: y.Fallback, Stop: y.Stop,
	}
	return nil
}

// UnmarshalYAML takes a text for a list of one, and priorities by name.
func (c *Condition) UnmarshalYAML(unmarshal func(any) error) error {
	var y struct {
		Sources     texts         `yaml:"sources"`
		Priorities  priorityNames `yaml:"priorities"`
		MinPriority *priorityName `yaml:"min_priority"`
	}
	if err := unmarshal(&y); err != nil {
		return err
	}
	*c = Condition{Sources: y.Sources, Priorities: y.Priorities}
	if y.MinPriority != nil {
		p := schema.Priority(*y.MinPriority)
		c.MinPriority = &p
	}
	return nil
}

type texts []string

func (t *texts) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Texts(unmarshal, func(s string) error { *t = append(*t, s); return nil })
}

type priorityNames []schema.Priority

func (n *priorityNames) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Texts(unmarshal, func(s string) error {
		p, err := schema.ParsePriority(s)
		*n = append(*n, p)
		return err
	})
}

type priorityName schema.Priority

func (n *priorityName) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		p, err := schema.ParsePriority(s)
		*n = priorityName(p)
		return err
	})
}
