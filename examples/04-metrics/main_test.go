package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

const want = `1,000 users register; the mail server is slow with some, and refuses others:
/healthz says 200
/readyz says 200
  eventbus_broker_up{broker="main"} 1
  eventbus_dead_letters_depth 10
  eventbus_publish_confirmed_total{broker="main"} 2000
  eventbus_subscription_failed_total{subscription="mailer"} 10
  eventbus_subscription_handled_total{subscription="mailer"} 990
  eventbus_subscription_handling_seconds_count{subscription="mailer"} 1000
  eventbus_subscription_retries_total{subscription="mailer"} 90
/metrics has N lines; docs/metrics.md explains them
`

func TestTheServiceSaysHowItFares(t *testing.T) {
	for name, url := range map[string]string{"memory": "memory://", "redis": testbroker.AnyRedis(t).PatientURL()} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			s := &service{url: url, addr: "127.0.0.1:0"}
			if err := s.run(t.Context(), &out); err != nil {
				t.Fatal(err)
			}
			if got := regexp.MustCompile(`has \d+ lines`).ReplaceAllString(out.String(), "has N lines"); got != want {
				t.Errorf("it says:\n%s", got)
			}
		})
	}
}

func TestItGoesOnUntilItIsToldToEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{url: "memory://", addr: "127.0.0.1:0", goOn: true}
	out := &watched{until: "serving on", then: cancel}
	if err := s.run(ctx, out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "serving on http://127.0.0.1:") {
		t.Errorf("it says:\n%s", out)
	}
}

// A watched calls a function once a text was written.
type watched struct {
	strings.Builder
	until string
	then  func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Builder.Write(p)
	if strings.Contains(w.String(), w.until) {
		w.then()
	}
	return n, err
}
