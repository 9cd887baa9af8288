package bus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
)

// DefaultBroker is the name of the broker that [Config.URL] opens, unless [Config.Broker] says otherwise.
const DefaultBroker = "main"

// BrokerConfig is one of several brokers.
type BrokerConfig struct {
	// URL says which broker it is and how to reach it.
	URL string
	// Publish shapes its lanes. What is left at its zero value is as in Config.Publish.
	Publish LaneConfig
}

// A brokerPlan is a broker that is to be opened, all defaults set.
type brokerPlan struct {
	name, url string
	lanes     LaneConfig
}

// plans returns the brokers that are to be opened, the default one first, the others by name. Those that are given, by
// name, need no URL. The defaults of c are set.
func (c *Config) plans(given map[string]brokers.Conn) ([]brokerPlan, error) {
	def, err := c.defaultBroker(given)
	if err != nil {
		return nil, err
	}
	all := c.allBrokers(def, given)
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(btoi(a != def), btoi(b != def)), strings.Compare(a, b))
	})
	plans := make([]brokerPlan, len(names))
	for i, name := range names {
		b := all[name]
		if err := router.CheckBroker(name); err != nil {
			return nil, &ConfigError{"brokers." + name, err.Error()}
		}
		if b.URL == "" && given[name] == nil {
			return nil, &ConfigError{"brokers." + name, "has no url: write it as " + name + ": redis://localhost:6379"}
		}
		b.Publish.inherit(c.Publish.LaneConfig)
		plans[i] = brokerPlan{name, b.URL, b.Publish}
		if err := b.Publish.check("brokers."+name+".publish.", c.MaxEventBytes); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// defaultBroker returns the name of the broker of rules and subscriptions that name none.
func (c *Config) defaultBroker(given map[string]brokers.Conn) (string, error) {
	_, named := c.Brokers[cmp.Or(c.Broker, DefaultBroker)]
	named = named || given[cmp.Or(c.Broker, DefaultBroker)] != nil
	switch {
	case c.URL != "" && c.Brokers[cmp.Or(c.Broker, DefaultBroker)].URL != "":
		return "", &ConfigError{"url", fmt.Sprintf("is the short form of brokers.%s.url, which is there too: remove one",
			cmp.Or(c.Broker, DefaultBroker))}
	case c.URL != "" || named || len(c.Brokers)+len(given) == 0 && c.Broker == "":
		return cmp.Or(c.Broker, DefaultBroker), nil
	case c.Broker != "":
		return "", &ConfigError{"broker", fmt.Sprintf("there is no broker %q: name one of %s, or add it to brokers", c.Broker,
			listed(c.brokerNames(given)))}
	case len(c.brokerNames(given)) == 1:
		return c.brokerNames(given)[0], nil
	default:
		return "", &ConfigError{"brokers", fmt.Sprintf("does not say which one is the default: add broker: %s, or name it %s",
			c.brokerNames(given)[0], DefaultBroker)}
	}
}

// allBrokers is c.Brokers with the default one and those that are given.
func (c *Config) allBrokers(def string, given map[string]brokers.Conn) map[string]BrokerConfig {
	all := make(map[string]BrokerConfig, len(c.Brokers)+1)
	maps.Copy(all, c.Brokers)
	for name := range given {
		if _, configured := all[name]; !configured {
			all[name] = BrokerConfig{}
		}
	}
	d := all[def]
	if d.URL == "" {
		d.URL = c.URL
	}
	if d.URL == "" && len(c.Brokers) == 0 {
		d.URL = DefaultURL
	}
	all[def] = d
	return all
}

// brokerNames are those that the configuration or an option names, sorted.
func (c *Config) brokerNames(given map[string]brokers.Conn) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(c.Brokers)), maps.Keys(given))
	slices.Sort(names)
	return slices.Compact(names)
}

// overrideURL sets the URL of the default broker, whatever the configuration says.
func (c *Config) overrideURL(url string) {
	name := c.Broker
	if names := c.brokerNames(nil); name == "" && c.URL == "" && len(names) == 1 {
		name = names[0]
	}
	name = cmp.Or(name, DefaultBroker)
	b, named := c.Brokers[name]
	if !named {
		c.URL = url
		return
	}
	c.Brokers = maps.Clone(c.Brokers)
	b.URL, c.URL = url, ""
	c.Brokers[name] = b
}

// inherit takes what is left at its zero value from another one.
func (l *LaneConfig) inherit(from LaneConfig) {
	setDefault(&l.Lanes, from.Lanes)
	setDefault(&l.MaxEvents, from.MaxEvents)
	setDefault(&l.MaxBytes, from.MaxBytes)
	setDefault(&l.WhenFull, from.WhenFull)
	setDefault(&l.BlockFor, from.BlockFor)
	setDefault(&l.SendTimeout, from.SendTimeout)
	setDefault(&l.FallbackAfter, from.FallbackAfter)
}

// listed is names in a text: at most 8 of them.
func listed(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
