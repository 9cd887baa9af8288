package router_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/eventbus-go/eventbus/internal/yamlfile"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestRulesAreReadFromYAML(t *testing.T) {
	got, err := router.ParseYAML([]byte(`
prefix: shop.events   # everything below it
rules:
  - name: orders
    match: order.*
    channels: orders
  - name: alerts
    match: [">", 'order.paid']
    when:
      sources: [shop, billing.*]
      priorities: high
      min_priority: low
    channels:
      - alerts
      - all
    stop: true
  - {match: cart.>, when: {sources: shop, priorities: [low, critical]}, channels: carts}
`))
	want := router.Config{Prefix: "shop.events", Rules: []router.Rule{
		{Name: "orders", Match: []string{"order.*"}, Channels: []string{"orders"}},
		{Name: "alerts", Match: []string{">", "order.paid"}, When: router.Condition{
			Sources: []string{"shop", "billing.*"}, Priorities: []schema.Priority{schema.High},
			MinPriority: priority(schema.Low),
		}, Channels: []string{"alerts", "all"}, Stop: true},
		{Match: []string{"cart.>"}, When: router.Condition{
			Sources: []string{"shop"}, Priorities: []schema.Priority{schema.Low, schema.Critical},
		}, Channels: []string{"carts"}},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestTheDefaultRulesAsYAMLAreTheDefaultRules(t *testing.T) {
	b, err := os.ReadFile("testdata/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := router.ParseYAML(b)
	if err != nil || !reflect.DeepEqual(got, router.Default()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestABadFileIsRefusedWithLineColumnCaretAndRemedy(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"an unknown key in a rule": {
			"prefix: shop\nrules:\n  - name: a\n    match: order.*\n    chanels: [x]\n    channels: [x]\n",
			`line 5, column 5: the key "chanels" is unknown; did you mean channels? known here: broker, channels, fallback, match, name, stop, when
    5 |     chanels: [x]
      |     ^`,
		},
		"an unknown key in a condition": {
			"rules:\n- match: a\n  when: {min_prio: high}\n  channels: x\n",
			`line 3, column 10: the key "min_prio" is unknown; known here: min_priority, priorities, sources
    3 |   when: {min_prio: high}
      |          ^`,
		},
		"an unknown key at the top": {
			"rules: []\nurl: redis://user:pass@word@host\n",
			`line 2, column 1: the key "url" is unknown; known here: prefix, rules
    2 | url: redis://***************host
      | ^`,
		},
		"a bad pattern": {
			"rules:\n  - match: ord*er\n    channels: x\n",
			`line 2, column 15: router: rules[0]: match[0]: "ord*er": at byte 3: "*" and ">" have to be whole tokens, such as in user.* or user.>
    2 |   - match: ord*er
      |               ^`,
		},
		"a bad pattern in quotes in a list": {
			"rules:\n  - name: b\n    match:\n      - a.*\n      - \"a.B\"\n    channels: x\n",
			`line 5, column 12: router: rules[0] (b): match[1]: "a.B": at byte 2: 'B' is a capital letter, write 'b'
    5 |       - "a.B"
      |            ^`,
		},
		"a wildcard in a channel": {
			"rules:\n  - match: a\n    channels: [ok, x.*]\n",
			`line 3, column 22: router: rules[0]: channels[1]: "x.*": at byte 2: '*' is a wildcard, only patterns have those: write the name out
    3 |     channels: [ok, x.*]
      |                      ^`,
		},
		"a missing field points to its rule": {
			"rules:\n  - name: a\n    channels: x\n",
			`line 2, column 5: router: rules[0] (a): match: no pattern is given; name the event types, such as role.*, or ">" for all
    2 |   - name: a
      |     ^`,
		},
		"a bad prefix": {
			"prefix: shop..events\nrules:\n  - match: a\n    channels: x\n",
			`line 1, column 14: router: prefix: "shop..events": at byte 5: a token is missing, write one between the dots and none at the ends
    1 | prefix: shop..events
      |              ^`,
		},
		"a priority in a list": {
			"rules:\n  - match: a\n    channels: x\n    when:\n      priorities: [high, urgent]\n",
			`line 5, column 26: schema: priority "urgent" is unknown (low, normal, high, critical)
    5 |       priorities: [high, urgent]
      |                          ^`,
		},
		"a priority by number": {
			"rules:\n  - match: a\n    channels: x\n    when: {min_priority: 3}\n",
			`line 4, column 26: schema: priority "3" is unknown (low, normal, high, critical)
    4 |     when: {min_priority: 3}
      |                          ^`,
		},
		"a text where true or false is expected": {
			"rules:\n  - match: a\n    channels: x\n    stop: maybe\n",
			`line 4, column 11: this has to be true or false
    4 |     stop: maybe
      |           ^`,
		},
		"a mapping where texts are expected": {
			"rules:\n  - match: {a: b}\n    channels: x\n",
			`line 2, column 13: this has to be a text or a list of texts
    2 |   - match: {a: b}
      |             ^`,
		},
		"nothing in a list": {
			"rules:\n  - match: [a, ~]\n    channels: x\n",
			`line 2, column 16: this has to be a text
    2 |   - match: [a, ~]
      |                ^`,
		},
		"a number where rules are expected": {
			"rules: 7\n",
			`line 1, column 8: this has to be a list, it is a number
    1 | rules: 7
      |        ^`,
		},
		"a list where a condition is expected": {
			"rules:\n  - match: a\n    channels: x\n    when: [high]\n",
			`line 4, column 11: this has to be a mapping, written as key: value, it is a list
    4 |     when: [high]
      |           ^`,
		},
		"a wildcard without quotes": {
			"rules:\n  - match: *.created\n    channels: x\n",
			`line 2, column 12: aliases are not supported; write the value out; a value that begins with * needs quotes, as in "*.created"
    2 |   - match: *.created
      |            ^`,
		},
		"a > without quotes": {
			"rules:\n  - match: >\n    channels: x\n",
			`line 2, column 12: | and > begin a block of text; if the sign is meant, put it in quotes: ">"
    2 |   - match: >
      |            ^`,
		},
		"a key twice": {
			"rules:\n  - match: a\n    match: b\n",
			`line 3, column 5: mapping key "match" already defined at [2:5]; remove one of them
    3 |     match: b
      |     ^`,
		},
		"a tab": {
			"rules:\n\t- match: a\n",
			`line 2, column 1: found character '\t' that cannot start any token; indent with spaces, not with tabs
    2 |  - match: a
      | ^`,
		},
		"a bracket that is not closed": {
			"rules:\n  - match: a\n    channels: [a\n",
			`line 3, column 15: sequence end token ']' not found
    3 |     channels: [a
      |               ^`,
		},
		"a rule that is never reached": {
			"rules:\n  - {name: s, match: '>', channels: x, stop: true}\n  - name: t\n    match: a\n    channels: y\n",
			`line 3, column 5: router: rules[1] (t): it is never reached: all that it could match stops at rules[0] (s); move it up, or take stop away
    3 |   - name: t
      |     ^`,
		},
		"no rules": {
			"prefix: shop\nrules: []\n",
			`line 2, column 8: router: rules: there is none, so no event could go anywhere; add rules, or leave the configuration out for the default ones
    2 | rules: []
      |        ^`,
		},
		"an empty file": {
			"# nothing\n",
			`router: rules: there is none, so no event could go anywhere; add rules, or leave the configuration out for the default ones`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := router.ParseYAML([]byte(tt.yaml))
			var e *yamlfile.Error
			if !errors.As(err, &e) || err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			if !reflect.DeepEqual(cfg, router.Config{}) {
				t.Errorf("returned %+v with the error", cfg)
			}
		})
	}
}

// larger is a configuration that has the rules among other things, in both ways there are.
type larger struct {
	URL           string `yaml:"url"`
	router.Config `yaml:",inline"`
	Other         router.Config `yaml:"other"`
}

const largerYAML = `url: memory://
prefix: shop
rules:
  - match: order.*
    when: {priorities: high}
    channels: orders
other:
  prefix: aside
  rules: [{match: [a, b], channels: [x]}]
`

func TestRulesMayBeAPartOfALargerFile(t *testing.T) {
	decoders := map[string]func(string, any) error{
		"yamlfile": func(s string, v any) error {
			f, err := yamlfile.Read([]byte(s))
			if err != nil {
				return err
			}
			return f.Decode(v)
		},
		"goccy": func(s string, v any) error { return yaml.UnmarshalWithOptions([]byte(s), v, yaml.Strict()) },
	}
	for name, decode := range decoders {
		t.Run(name, func(t *testing.T) {
			var got larger
			if err := decode(largerYAML, &got); err != nil {
				t.Fatal(err)
			}
			high := router.Condition{Priorities: []schema.Priority{schema.High}}
			if len(got.Rules) != 1 || !reflect.DeepEqual(got.Rules[0].When, high) || got.Prefix != "shop" ||
				got.URL != "memory://" || len(got.Other.Rules) != 1 || len(got.Other.Rules[0].Match) != 2 {
				t.Errorf("got %+v", got)
			}
			for old, tt := range map[string]struct{ now, place string }{
				"priorities: high": {"priorities: [high, huge]", "5|31"},
				"channels: orders": {"channel: orders", "6|5"},
				"match: [a, b]":    {"match: [a, {}]", "9|23"},
				"url: memory://":   {"uri: memory://", "1|1"},
				"prefix: shop":     {"prefix: [shop]", "2|9"},
			} {
				err := decode(strings.Replace(largerYAML, old, tt.now, 1), &larger{})
				line, column, _ := strings.Cut(tt.place, "|")
				if err == nil || !strings.Contains(err.Error(), "line "+line+", column "+column+":") &&
					!strings.Contains(err.Error(), "["+line+":"+column+"]") {
					t.Errorf("%s: got %v, want the place %s", tt.now, err, tt.place)
				}
			}
		})
	}
}

func TestAnErrorOfNewIsLocatedInALargerFile(t *testing.T) {
	f, err := yamlfile.Read([]byte(strings.Replace(largerYAML, "order.*", "order.X", 1)))
	if err != nil {
		t.Fatal(err)
	}
	var got larger
	if err := f.Decode(&got); err != nil {
		t.Fatal(err)
	}
	_, err = router.New(got.Config)
	var e *yamlfile.Error
	if located := f.Locate(err); !errors.As(located, &e) || e.Line != 4 || e.Column != 18 || !errors.Is(located, err) {
		t.Errorf("got %v", located)
	}
}

func FuzzParseYAML(f *testing.F) {
	b, err := os.ReadFile("testdata/default.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(b), largerYAML, "", "rules:", "rules:\n- match: a\n  channels: b\n", "rules: [{match: '>', channels: [x]}]",
		"a: &a [*a]", "<<: {}", "? a\n: b", "rules:\n- - - -", "{{{{[[[[", "rules: !!binary x", "%YAML 1.2\n---\n", "a: |\n  x\n",
		"a: \"\\x", "--- \n---\n", "\xff", "\ufeffrules: []", "a:\r\n\tb", "rules:\n  -\n", "prefix: 1e9\nrules: [{match: 0x1, channels: .inf}]",
		"rules:\n- match: a\n  when: {sources: [A b, '*'], min_priority: low, priorities: [low]}\n  channels: c\n  stop: yes",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		start := time.Now()
		cfg, err := router.ParseYAML(b)
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("took %v for %d bytes", took, len(b))
		}
		if err != nil {
			var e *yamlfile.Error
			if text := err.Error(); !errors.As(err, &e) || text == "" || len(text) > 4096 || strings.ContainsAny(text, "\x00\t\x1b") {
				t.Errorf("unclear: %T %q", err, err)
			}
			return
		}
		r, err := router.New(cfg)
		if err != nil {
			t.Fatalf("accepted by ParseYAML, refused by New: %v", err)
		}
		_ = r.Explain(schema.Event{Type: "user.updated", Source: "s"}).String()
	})
}
