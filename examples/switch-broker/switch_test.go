package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// servers are where the URLs of each scheme come from: a real server where there is one, else one in this process.
var servers = map[string]func(*testing.T) string{
	"memory": func(*testing.T) string { return defaultURL },
	"redis":  func(t *testing.T) string { return testbroker.AnyRedis(t).PatientURL() },
	"rediss": nil, // redis over TLS
	"redis+stream": func(t *testing.T) string {
		return strings.Replace(testbroker.AnyRedis(t).URL(), "redis://", "redis+stream://", 1)
	},
	"rediss+stream": nil,
	"nats":          func(t *testing.T) string { return testbroker.AnyNATS(t, testbroker.NATSOptions{}).URL() },
	"nats+js": func(t *testing.T) string {
		return testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true}).JetURL()
	},
	"kafka": func(t *testing.T) string {
		opts := testbroker.KafkaOptions{InProcess: os.Getenv(testbroker.EnvRequireReal) != "1" && !testbroker.InstalledKafka()}
		return testbroker.StartKafka(t, opts).URL()
	},
	"amqp":  func(t *testing.T) string { return testbroker.StartRabbitMQ(t, testbroker.RabbitMQOptions{}).URL() },
	"amqps": nil, // amqp over TLS
}

func TestTheOutputIsTheSameOnEveryBroker(t *testing.T) {
	want, err := os.ReadFile("testdata/transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range brokers.Drivers() {
		start, known := servers[d.Scheme]
		if known && start == nil {
			continue
		}
		t.Run(d.Scheme, func(t *testing.T) {
			if !known {
				t.Fatalf("there is no server for %s:// here: add one to the table", d.Scheme)
			}
			var got bytes.Buffer
			if err := run(t.Context(), start(t), &got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("on %s:// it prints\n%s\ninstead of\n%s", d.Scheme, got.Bytes(), want)
			}
		})
	}
}

// Which broker it is stands in one line of the program, outside of comments.
func TestOneLineChoosesTheBroker(t *testing.T) {
	var naming []string
	for _, file := range []string{"main.go", "shop.go", "transcript.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "://") && !strings.HasPrefix(line, "//") {
				naming = append(naming, strings.TrimSpace(line))
			}
		}
	}
	if want := []string{`const defaultURL = "memory://"`}; !slices.Equal(naming, want) {
		t.Errorf("the lines that name a broker are %q", naming)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil || !strings.Contains(string(readme), "\n-"+naming[0]+"\n+const defaultURL = ") {
		t.Errorf("the README does not show that line's change (%v)", err)
	}
}
