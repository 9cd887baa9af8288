package bus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestAConfigurationFileIsReadWhole(t *testing.T) {
	t.Setenv("TEST_REDIS", "memory://")
	cfg, err := bus.ParseConfig([]byte(`
url: ${TEST_REDIS}
source: shop
prefix: shop.events
rules:
  - match: order.*
    channels: [orders, all]
publish:
  lanes: 1
  max_events: 100
  max_bytes: 2097152
  when_full: drop_lowest
  block_for: 5ms
  send_timeout: 2s
  timeout: 3s
max_event_bytes: 1048576
forbidden: [iban]
shutdown: 10s
`))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.URL != "memory://" || cfg.Source != "shop" || cfg.Prefix != "shop.events" || len(cfg.Rules) != 1 || cfg.Shutdown != 10*time.Second {
		t.Errorf("read %+v", cfg)
	}
	want := bus.LaneConfig{
		Lanes: 1, MaxEvents: 100, MaxBytes: 2 << 20, WhenFull: bus.DropLowest, BlockFor: 5 * time.Millisecond, SendTimeout: 2 * time.Second,
	}
	if cfg.Publish.LaneConfig != want || cfg.Publish.Timeout != 3*time.Second {
		t.Errorf("read %+v", cfg.Publish)
	}
	b, err := bus.OpenConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ended())
	msgs, err := b.Pack(t.Context(), schema.Event{Type: "order.placed"})
	if err != nil || len(msgs) != 2 || msgs[0].Channel != "shop.events.orders" {
		t.Errorf("packed %+v, %v", msgs, err)
	}
	e := schema.Event{Type: "order.placed"}
	if err := e.Metadata.Set("customer_iban", "x"); err != nil {
		t.Fatal(err)
	}
	if err := b.Emit(t.Context(), e); err == nil || !strings.Contains(err.Error(), "iban") {
		t.Errorf("a metadata key that the file forbids: %v", err)
	}
}

const twoBrokersText = "brokers:\n  main: memory://\n  audit: memory://\n"

func TestTheDefaultBrokerIsTheOneThatIsMeant(t *testing.T) {
	for _, tt := range []struct{ text, env, want string }{
		{"", "", "main"},
		{"url: memory://", "", "main"},
		{"url: memory://\nbrokers: {audit: \"memory://\"}", "", "main audit"},
		{"brokers: {audit: \"memory://\"}", "", "audit"},
		{"broker: b\nbrokers: {a: \"memory://\", b: \"memory://\"}", "", "b a"},
		{"broker: x\nurl: memory://\nbrokers: {a: \"memory://\"}", "", "x a"},
		{"url: memory://\nbrokers: {main: {publish: {lanes: 1}}}", "", "main"},
		{"brokers: {main: \"redis://localhost:1\", audit: \"memory://\"}", "memory://", "main audit"},
		{"brokers: {audit: \"redis://localhost:1\"}", "memory://", "audit"},
		{"url: redis://localhost:1\nbrokers: {audit: \"memory://\"}", "memory://", "main audit"},
	} {
		file := filepath.Join(t.TempDir(), "eventbus.yaml")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(bus.EnvConfig, file)
		t.Setenv(bus.EnvURL, tt.env)
		b, err := bus.Open(t.Context(), "")
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		first, rest, _ := strings.Cut(tt.want, " ")
		msgs, err := b.Pack(t.Context(), schema.Event{Type: "user.updated"})
		if err != nil || (rest != "" && msgs[0].Broker != first) || (rest == "" && msgs[0].Broker != "") {
			t.Errorf("%q: an event goes to %+v, %v", tt.text, msgs, err)
		}
		st := b.Stats().Brokers
		if len(st) != len(strings.Fields(tt.want)) {
			t.Errorf("%q: the brokers are %v", tt.text, st)
		}
		if _, has := st[first]; !has {
			t.Errorf("%q: the brokers are %v", tt.text, st)
		}
		if err := b.Health(t.Context()); tt.env != "" && err != nil {
			t.Errorf("%q: the environment's URL is not used: %v", tt.text, err)
		}
		_ = b.Close(ended())
	}
}

func TestABadConfigurationIsRefusedWithThePlaceAndTheRemedy(t *testing.T) {
	for name, test := range map[string]struct {
		text         string
		line, column int
		says         string
	}{
		"unknown key":         {"url: memory://\npubish: {}\n", 2, 1, "publish"},
		"unknown nested key":  {"publish:\n  lane: 2\n", 2, 3, "lanes"},
		"not a number":        {"publish:\n  max_events: many\n", 2, 15, "max_events"},
		"out of range":        {"publish:\n  lanes: 0\n  max_events: -1\n", 3, 15, "goes from 1 to"},
		"unknown policy":      {"publish:\n  when_full: drop_oldest\n", 2, 14, "drop_newest, drop_lowest, block"},
		"not a duration":      {"shutdown: soon\n", 1, 11, "duration"},
		"bad rule":            {"rules:\n  - match: \"a..b\"\n    channels: [x]\n", 2, 15, "at byte 2"},
		"rule with nothing":   {"rules:\n  - channels: [x]\n", 2, 5, "match"},
		"url without scheme":  {"url: localhost:6379\n", 1, 6, "redis://localhost:6379"},
		"unset variable":      {"url: ${NO_SUCH_VARIABLE}\n", 1, 6, "NO_SUCH_VARIABLE"},
		"a list at the top":   {"- a\n", 1, 1, "keys and values"},
		"syntax":              {"publish: [\n", 1, 10, ""},
		"twice the same key":  {"source: a\nsource: b\n", 2, 1, "source"},
		"a number for a text": {"source: [a]\n", 1, 9, ""},

		"unknown broker":         {twoBrokersText + "rules:\n  - match: a\n    channels: x\n    broker: adit\n", 7, 13, "main, audit"},
		"unknown fallback":       {twoBrokersText + "rules:\n  - match: a\n    channels: x\n    fallback: adit\n", 7, 15, "main, audit"},
		"its own fallback":       {twoBrokersText + "rules:\n  - match: a\n    channels: x\n    fallback: main\n", 7, 15, "sends to"},
		"a broker without url":   {"brokers:\n  main: memory://\n  audit: {}\n", 3, 10, "has no url"},
		"url and the same again": {"url: memory://\n" + twoBrokersText, 1, 6, "remove one"},
		"no default broker":      {"brokers:\n  audit: memory://\n  log: memory://\n", 2, 3, "add broker: audit"},
		"unknown default":        {"broker: adit\n" + twoBrokersText, 1, 9, "audit, main"},
		"a bad name of a broker": {"brokers:\n  main: memory://\n  Audit: memory://\n", 3, 10, "small letters"},
		"a bad url of a broker":  {"brokers:\n  main: memory://\n  audit: localhost\n", 3, 10, "redis://localhost:6379"},
		"a bad lane of a broker": {"brokers:\n  main: {url: \"memory://\", publish: {lanes: 99}}\n", 2, 45, "goes from 1 to"},
		"unset variable there":   {"brokers:\n  main: ${NO_SUCH_VARIABLE}\n", 2, 9, "NO_SUCH_VARIABLE"},
		"two fallbacks": {twoBrokersText + "rules:\n  - { match: a, channels: x }\n  - { match: b, channels: x, fallback: audit }\n",
			6, 40, "same fallback"},
		"a list of brokers": {"brokers:\n  main: [a]\n", 2, 9, "a text or a mapping"},
		"unknown key there": {"brokers:\n  main:\n    ulr: memory://\n", 3, 5, "did you mean url"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bus.ParseConfig([]byte(test.text))
			var ye *router.FileError
			if !errors.As(err, &ye) {
				t.Fatalf("got %v, want a *router.FileError", err)
			}
			if ye.Line != test.line || ye.Column != test.column {
				t.Errorf("the place is line %d, column %d, want %d and %d:\n%v", ye.Line, ye.Column, test.line, test.column, err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("it does not say %q:\n%v", test.says, err)
			}
			if !strings.Contains(err.Error(), "^") {
				t.Errorf("no caret below the line:\n%v", err)
			}
		})
	}
}

// secret is a password that must not appear in any output.
const secret = "s3cr3t-Pa55"

func TestAPasswordAppearsInNoError(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{
		"redis://user:" + secret + "@localhost:6379?nope=1",
		"redis://user:" + secret + "@localhost:6379?nope=" + secret,
		"redis://user:" + secret + "@local host",
		"redis://user:" + secret + "@localhost:port",
		"redis://:" + secret + "@localhost:6379/notadb",
		"redis://user:" + secret + "%zz@localhost",
		"nosuch://user:" + secret + "@localhost",
		"user:" + secret + "@localhost:6379",
		"://user:" + secret + "@localhost",
		"redis://user:" + secret + "@localhost#x",
		"redis://user:" + secret + "@localhost?a=%zz",
		"memory://user:" + secret + "@name",
	} {
		_, err := bus.Open(t.Context(), url)
		if err == nil {
			t.Errorf("%s was accepted", strings.ReplaceAll(url, secret, "***"))
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the password: %v", err)
		}
		file := filepath.Join(dir, "eventbus.yaml")
		if err := os.WriteFile(file, []byte("url: \""+url+"\"\npubish: 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err = bus.LoadConfig(file); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("the error of the file shows the password, or there is none: %v", err)
		}
	}
}

func TestTheEnvironmentChoosesTheBroker(t *testing.T) {
	t.Setenv(bus.EnvURL, "memory://")
	for name, open := range map[string]func(context.Context) (*bus.Bus, error){
		"Open without a URL": func(ctx context.Context) (*bus.Bus, error) { return bus.Open(ctx, "") },
		"OpenEnv":            func(ctx context.Context) (*bus.Bus, error) { return bus.OpenEnv(ctx) },
	} {
		b, err := open(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := b.Publish(t.Context(), schema.Event{Type: "a.b"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.Close(ended())
	}
	t.Setenv(bus.EnvConfig, filepath.Join(t.TempDir(), "missing.yaml"))
	if _, err := bus.OpenEnv(t.Context()); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAMissingDriverIsNamedWithTheImportThatHelps(t *testing.T) {
	_, err := bus.Open(t.Context(), "pigeon://loft")
	if err == nil || !strings.Contains(err.Error(), "brokers/all") || !strings.Contains(err.Error(), "pigeon") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("url: redis://localhost:6379\nsource: a\nrules:\n- match: a.*\n  channels: [b]\n")
	f.Add("publish: {lanes: 2, when_full: block}\nshutdown: 1s\n")
	f.Add("url: ${HOME}\nforbidden: []\n")
	f.Add("publish:\n  max_bytes: 1e9\n  lanes: 0x10\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := bus.ParseConfig([]byte(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a text")
			}
			return
		}
		cfg.URL = "memory://"
		b, err := bus.OpenConfig(t.Context(), cfg)
		if err != nil {
			t.Fatalf("ParseConfig accepts what OpenConfig refuses: %v", err)
		}
		b.Close(ended())
	})
}

func TestASubscriptionThatItsBrokerCannotServeIsRefusedWithTheBrokersThatCould(t *testing.T) {
	b, err := bus.Open(t.Context(), "redis://localhost:1")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ended())
	_, err = b.Subscribe(bus.Subscription{
		Name: "billing", Group: "billing", Events: []string{"user.*"},
		Handler: func(context.Context, schema.Event) error { return nil },
	})
	const want = `bus: subscription "billing" needs consumer groups; redis:// promises none (memory://, redis+stream://, rediss+stream:// could); or leave Group empty, and every process sees every event`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
