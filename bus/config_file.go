package bus

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/yamlfile"
	"github.com/eventbus-go/eventbus/router"
)

// A ConfigError says which setting cannot be meant. Of one in a file, LoadConfig and ParseConfig add line and column.
type ConfigError struct {
	// Setting is the way to it in a file, such as "publish.max_events".
	Setting string
	// Problem is what is wrong with it, and the remedy.
	Problem string
}

// Error names the setting and the problem.
func (e *ConfigError) Error() string { return e.Setting + " " + e.Problem }

// Path returns the keys that lead to the setting.
func (e *ConfigError) Path() []any {
	var path []any
	for key := range strings.SplitSeq(e.Setting, ".") {
		path = append(path, key)
	}
	return path
}

// Offset returns which byte of the value is wrong: its first.
func (e *ConfigError) Offset() int { return 0 }

// LoadConfig reads a configuration from a YAML file and checks all of it. Its errors name the file, line and column and the
// remedy, and show the line, without what may be a password; they are found by errors.As as a *router.FileError.
func LoadConfig(path string) (Config, error) {
	text, err := readFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("bus: configuration: %w", err)
	}
	cfg, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("bus: configuration: %s: %w", path, err)
	}
	return cfg, nil
}

// readFile reads a file up to what ParseConfig takes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, yamlfile.MaxBytes+1))
}

// ParseConfig is LoadConfig for a text.
func ParseConfig(text []byte) (Config, error) {
	f, err := yamlfile.Read(text)
	if err != nil {
		return Config{}, err
	}
	var file configFile
	if err := f.Decode(&file); err != nil {
		return Config{}, err
	}
	cfg := file.config()
	if err := cfg.expand(os.LookupEnv); err != nil {
		return Config{}, f.Locate(err)
	}
	if err := f.Locate(cfg.checkFile()); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// configFile is the shape of a file. It differs from Config where a value needs a reader that knows its place.
type configFile struct {
	URL           string                `yaml:"url"`
	Brokers       map[string]brokerFile `yaml:"brokers"`
	Broker        string                `yaml:"broker"`
	Source        string                `yaml:"source"`
	router.Config `yaml:",inline"`
	Publish       struct {
		Lanes   lanesFile `yaml:",inline"`
		Timeout duration  `yaml:"timeout"`
	} `yaml:"publish"`
	MaxEventBytes  int                         `yaml:"max_event_bytes"`
	Forbidden      []string                    `yaml:"forbidden"`
	Shutdown       duration                    `yaml:"shutdown"`
	Subscriptions  map[string]subscriptionFile `yaml:"subscriptions"`
	DeadLetters    string                      `yaml:"dead_letters"`
	Dedup          string                      `yaml:"dedup"`
	EnsureChannels bool                        `yaml:"ensure_channels"`
}

// lanesFile is the shape of a LaneConfig.
type lanesFile struct {
	Lanes         int        `yaml:"lanes"`
	MaxEvents     int        `yaml:"max_events"`
	MaxBytes      int        `yaml:"max_bytes"`
	WhenFull      fullPolicy `yaml:"when_full"`
	BlockFor      duration   `yaml:"block_for"`
	SendTimeout   duration   `yaml:"send_timeout"`
	FallbackAfter duration   `yaml:"fallback_after"`
}

// brokerFile is the shape of a BrokerConfig.
type brokerFile struct {
	URL     string    `yaml:"url"`
	Publish lanesFile `yaml:"publish"`
}

// UnmarshalYAML takes a text for a URL.
func (b *brokerFile) UnmarshalYAML(unmarshal func(any) error) error {
	type full brokerFile
	return yamlfile.TextOr(unmarshal, func(s string) error { b.URL = s; return nil }, (*full)(b))
}

func (f *configFile) config() Config {
	cfg := Config{
		URL: f.URL, Broker: f.Broker, Source: f.Source, Config: f.Config, MaxEventBytes: f.MaxEventBytes,
		Forbidden: f.Forbidden, Shutdown: time.Duration(f.Shutdown), EnsureChannels: f.EnsureChannels,
		Subscriptions: subscriptionConfigs(f.Subscriptions), DeadLetters: f.DeadLetters, Dedup: f.Dedup,
		Publish: PublishConfig{Timeout: time.Duration(f.Publish.Timeout), LaneConfig: f.Publish.Lanes.config()},
	}
	for name, b := range f.Brokers {
		if cfg.Brokers == nil {
			cfg.Brokers = make(map[string]BrokerConfig, len(f.Brokers))
		}
		cfg.Brokers[name] = BrokerConfig{URL: b.URL, Publish: b.Publish.config()}
	}
	return cfg
}

func (l *lanesFile) config() LaneConfig {
	return LaneConfig{
		Lanes: l.Lanes, MaxEvents: l.MaxEvents, MaxBytes: l.MaxBytes, WhenFull: FullPolicy(l.WhenFull),
		BlockFor: time.Duration(l.BlockFor), SendTimeout: time.Duration(l.SendTimeout),
		FallbackAfter: time.Duration(l.FallbackAfter),
	}
}

type duration time.Duration

// UnmarshalYAML reads a duration as time.ParseDuration does.
func (d *duration) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is not a duration, such as 500ms, 10s or 1m30s", s)
		}
		*d = duration(v)
		return nil
	})
}

type fullPolicy FullPolicy

// UnmarshalYAML reads a policy by its name.
func (p *fullPolicy) UnmarshalYAML(unmarshal func(any) error) error {
	return yamlfile.Text(unmarshal, func(s string) error {
		v, err := ParseFullPolicy(s)
		*p = fullPolicy(v)
		return err
	})
}

// checkFile checks what a file says as Open would, and leaves the defaults to Open.
func (c Config) checkFile() error {
	if err := c.checkURLs(); err != nil {
		return err
	}
	c.setDefaults()
	if err := c.check(); err != nil {
		return err
	}
	plans, err := c.plans(nil)
	if err != nil {
		return err
	}
	_, err = c.router(plans)
	return err
}

// checkURLs checks the syntax of all URLs. A driver checks the rest when it is opened.
func (c *Config) checkURLs() error {
	if _, err := brokers.ParseURL(c.URL); c.URL != "" && err != nil {
		return &ConfigError{"url", err.Error()}
	}
	for _, name := range c.brokerNames(nil) {
		if _, err := brokers.ParseURL(c.Brokers[name].URL); c.Brokers[name].URL != "" && err != nil {
			return &ConfigError{"brokers." + name + ".url", err.Error()}
		}
	}
	return nil
}

// router makes the router, whose rules may name the planned brokers.
func (c *Config) router(plans []brokerPlan) (*router.Router, error) {
	rules := c.Config
	rules.Brokers = nil
	for _, p := range plans {
		rules.Brokers = append(rules.Brokers, p.name)
	}
	return router.New(rules)
}

var variable = regexp.MustCompile(`\$\{([^}]*)\}`)

// expand replaces the variables in all URLs.
func (c *Config) expand(lookup func(string) (string, bool)) (err error) {
	if c.URL, err = expand("url", c.URL, lookup); err != nil {
		return err
	}
	if c.DeadLetters, err = expand("dead_letters", c.DeadLetters, lookup); err != nil {
		return err
	}
	if c.Dedup, err = expand("dedup", c.Dedup, lookup); err != nil {
		return err
	}
	for _, name := range c.brokerNames(nil) {
		b := c.Brokers[name]
		if b.URL, err = expand("brokers."+name+".url", b.URL, lookup); err != nil {
			return err
		}
		c.Brokers[name] = b
	}
	return nil
}

// expand replaces each ${NAME} by the variable's value. One that is not set is an error, not an empty text.
func expand(setting, s string, lookup func(string) (string, bool)) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := lookup(name)
		if !ok && missing == nil {
			missing = &ConfigError{setting, fmt.Sprintf("names the environment variable %q, which is not set", name)}
		}
		return value
	})
	return out, missing
}
