package rabbitmq

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// maxName is the length of the longest name of a queue that we choose: the protocol's 255 without room for what is added for
// the queues in which redeliveries wait.
const maxName = 220

// A place is a queue and what is bound to it.
type place struct {
	name     string
	patterns []brokers.Pattern
	group    string // empty: it belongs to one subscription, and ends with it
}

// places returns the queues of a group that reads patterns: one for each, so that what a service reads can change without
// leaving a queue behind that nobody reads, so that two subscriptions of one group may read different channels, and so that
// each channel has its own lag. Patterns that overlap share a queue: the server puts a message into a queue once, however many
// of its bindings match.
func (s *settings) places(group string, patterns []brokers.Pattern) []place {
	var out []place
	for _, together := range overlapping(patterns) {
		out = append(out, place{name: s.queueName(group, together), patterns: together, group: group})
	}
	return out
}

// overlapping divides patterns into sets such that those of different sets never match the same channel.
func overlapping(patterns []brokers.Pattern) [][]brokers.Pattern {
	var sets [][]brokers.Pattern
	for _, p := range patterns {
		joined := []brokers.Pattern{p}
		sets = slices.DeleteFunc(sets, func(set []brokers.Pattern) bool {
			if !slices.ContainsFunc(set, p.Overlaps) {
				return false
			}
			joined = append(joined, set...)
			return true
		})
		sets = append(sets, joined)
	}
	return sets
}

// queueName is what a group's queue is called: eventbus:mail:user_service.events.auth. A name that would be too long, or
// could be that of another group, ends in a hash.
func (s *settings) queueName(group string, patterns []brokers.Pattern) string {
	channels := joined(patterns)
	plain := safeName(group)
	name := s.exchange + ":" + plain + ":" + channels
	if plain == group && len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(group + "\x00" + channels))
	const digits = 16
	return name[:min(len(name), maxName-digits-1)] + "~" + hex.EncodeToString(sum[:digits/2])
}

// joined is the text of patterns that share a queue.
func joined(patterns []brokers.Pattern) string {
	list := make([]string, len(patterns))
	for i, p := range patterns {
		list[i] = p.String()
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// ownPlace is the queue of a subscription without a group.
func (s *settings) ownPlace(name string, patterns []brokers.Pattern) place {
	plain := safeName(name)
	unique := fmt.Sprintf("%016x", rand.Uint64())
	return place{name: s.exchange + ":" + plain[:min(len(plain), 100)] + ":" + unique, patterns: patterns}
}

// safeName replaces what would make a queue's name hard to read or ambiguous.
func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, s)
}

// bindingKey is a pattern as a topic exchange reads it: * is one word there, too, and # is none or more.
func bindingKey(p brokers.Pattern) string {
	if rest, ok := strings.CutSuffix(p.String(), ">"); ok {
		return rest + "*.#"
	}
	return p.String()
}

// arguments are those of a place's queue.
func (s *settings) arguments(p place) amqp.Table {
	t := amqp.Table{amqp.QueueTypeArg: s.kind(p)}
	if p.group != "" && s.single {
		t[amqp.SingleActiveConsumerArg] = true
	}
	return t
}

// kind is the kind of a place's queue: one that ends with its connection cannot be replicated.
func (s *settings) kind(p place) string {
	if p.group == "" {
		return classic
	}
	return s.queue
}

// declareExchange makes the exchange where that is allowed; what exists is left as it is.
func (s *settings) declareExchange(ch *amqp.Channel) error {
	if !s.create {
		return nil
	}
	err := ch.ExchangeDeclare(s.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	return setup(fmt.Sprintf("exchange %q", s.exchange), err)
}

// declare makes a queue and binds it where that is allowed; else it only looks whether the queue is there.
func (s *settings) declare(ch *amqp.Channel, p place) error {
	own := p.group == ""
	what := fmt.Sprintf("queue %q", p.name)
	if !s.create && !own {
		_, err := ch.QueueDeclarePassive(p.name, true, false, false, false, nil)
		return setup(what, err)
	}
	if err := s.declareExchange(ch); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(p.name, !own, own, own, false, s.arguments(p)); err != nil {
		return setup(what, err)
	}
	return s.bind(ch, p)
}

// bind binds a queue; bindings that exist are left as they are.
func (s *settings) bind(ch *amqp.Channel, p place) error {
	for _, pattern := range p.patterns {
		if err := ch.QueueBind(p.name, bindingKey(pattern), s.exchange, false, nil); err != nil {
			return setup(fmt.Sprintf("binding of queue %q to %q", p.name, pattern), err)
		}
	}
	return nil
}

// checkChannel reports whether messages can be published to a channel. Names that begin with amq. are the broker's own.
func checkChannel(channel string) error {
	if err := brokers.CheckChannel(channel); err != nil {
		return badChannel{err}
	}
	return reserved(channel)
}

func reserved(channel string) error {
	if channel == "amq" || strings.HasPrefix(channel, "amq.") {
		return badChannel{fmt.Errorf("%q: names that begin with amq. are the broker's own, choose another one", channel)}
	}
	return nil
}

// readPatterns reads the channels of a subscription, without those that another one covers.
func readPatterns(name string, channels []string) ([]brokers.Pattern, error) {
	if len(channels) == 0 {
		return nil, badChannel{fmt.Errorf("subscription %q has no channels", name)}
	}
	var all, out []brokers.Pattern
	for _, s := range channels {
		p, err := brokers.ParsePattern(s)
		if err == nil {
			err = reserved(s)
		}
		if err != nil {
			return nil, badChannel{fmt.Errorf("subscription %q: %w", name, err)}
		}
		all = append(all, p)
	}
	for i, p := range all {
		if !coveredByAnother(all, i) {
			out = append(out, p)
		}
	}
	return out, nil
}

// coveredByAnother reports whether all[i] can be left out. Of two that cover each other, the first one stays.
func coveredByAnother(all []brokers.Pattern, i int) bool {
	for j, q := range all {
		if j != i && q.Covers(all[i]) && (j < i || !all[i].Covers(q)) {
			return true
		}
	}
	return false
}

func matchesAny(patterns []brokers.Pattern, channel string) bool {
	for _, p := range patterns {
		if p.Match(channel) {
			return true
		}
	}
	return false
}
