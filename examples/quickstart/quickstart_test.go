package main

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// The story publishes 16 events. Each goes to audit and analytics; three to email, four to security (one of them, the
// editor's role, for nothing) and one more of that type, three to authorisation.
const (
	allIsWell = "published 16, delivered 43, dropped 0, lost 0"
	oneIsLost = "published 16, delivered 42, dropped 0, lost 1"
)

func TestItNeedsNothingInstalledAndLosesNothing(t *testing.T) {
	r := start(t, "").wait()
	r.expect(t, 0, allIsWell)
	if r.stderr != "" {
		t.Errorf("stderr:\n%s", r.stderr)
	}
}

func TestEachSubscriberHasAVisibleEffect(t *testing.T) {
	r := start(t, "", "-pace=0").wait()
	r.expect(t, 0, allIsWell)
	for _, effect := range []string{
		"Subject: Welcome, Ada Lovelace!",
		"Subject: Welcome, Zoë Fröhlich 🦊!",
		"Keep your 10 backup codes",
		"ALERT (high) login as zoe.1@example.com failed: wrong password, from 198.51.100.23",
		"ALERT (high) login as mallory@example.net failed: unknown account",
		"ALERT (high) user:2 is an administrator now, by user:1",
		"ALERT (high) user:2 has no second factor any more",
		"dropped the cached roles of user:2",
		"16 rows in the audit table",
		"2  role.assigned",
	} {
		if !strings.Contains(r.stdout, effect) {
			t.Errorf("nothing shows %q", effect)
		}
	}
	if strings.Contains(r.stdout, "user:3 is an administrator") {
		t.Error("the editor raised an alert")
	}
	if t.Failed() {
		t.Log(r.stdout)
	}
}

func TestTheBrokerIsAURL(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"redis":  func(t *testing.T) string { return testbroker.AnyRedis(t).PatientURL() },
		"memory": func(*testing.T) string { return "memory://" },
	} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			start(t, url, "-pace=0").wait().expect(t, 0, allIsWell)
			start(t, "redis://127.0.0.1:1", "-pace=0", "-url="+url).wait().expect(t, 0, allIsWell)
		})
	}
}

func TestALostDeliveryIsNoticed(t *testing.T) {
	for _, url := range []string{"", "memory://"} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			r := start(t, url, "-drop=1", "-pace=0", "-patience=6s").wait() // for which no machine rests
			r.expect(t, 1, oneIsLost)
			if !strings.Contains(r.stdout, "-drop         swallowed a delivery of user.registered") {
				t.Errorf("it does not say what was swallowed:\n%s", r.stdout)
			}
		})
	}
}

func TestOthersListenInOnTheEmbeddedServer(t *testing.T) {
	p := start(t, "", "-serve", "-pace=0")
	port := regexp.MustCompile(`redis-cli -p (\d+) subscribe (\S+)$`).FindStringSubmatch(p.await("redis-cli"))
	if port == nil {
		t.Fatalf("no command to listen in: %q", p.lines)
	}
	client := goredis.NewClient(&goredis.Options{Addr: net.JoinHostPort("127.0.0.1", port[1]), Protocol: 2})
	defer client.Close()
	pubsub := client.Subscribe(t.Context(), port[2])
	defer pubsub.Close()

	seen := make(map[string]bool)
	for len(seen) < len(wanted) { // every type of the story, within two rounds
		m, err := pubsub.ReceiveTimeout(t.Context(), generous)
		if err != nil {
			t.Fatalf("after %d types: %v", len(seen), err)
		}
		message, ok := m.(*goredis.Message)
		if !ok {
			continue
		}
		var event struct {
			ID   string `json:"event_id"`
			Type string `json:"event_type"`
		}
		if err := json.Unmarshal([]byte(message.Payload), &event); err != nil || event.ID == "" {
			t.Fatalf("not an event: %v: %s", err, message.Payload)
		}
		seen[event.Type] = true
	}
	p.interrupt()
	r := p.wait()
	expectCleanRounds(t, r)
}

func TestServeRunsUntilInterruptedAndGivesTheSameAccount(t *testing.T) {
	p := start(t, testbroker.AnyRedis(t).PatientURL(), "-serve", "-pace=0")
	p.await("ada.2@example.com")
	p.interrupt()
	expectCleanRounds(t, p.wait())
}

// expectCleanRounds expects the account of a number of rounds of which the last one may have been cut short.
func expectCleanRounds(t *testing.T, r result) {
	t.Helper()
	var published, delivered int
	_, err := fmt.Sscanf(r.last, "published %d, delivered %d, dropped 0, lost 0", &published, &delivered)
	if err != nil || r.status != 0 || published < 16 || delivered < 43 {
		t.Fatalf("exit status %d and last line %q: %v\n%s", r.status, r.last, err, r.stderr)
	}
}

func TestABrokerThatDiesHarmsNoOperation(t *testing.T) {
	redis := testbroker.RealRedis(t)
	p := start(t, redis.URL(), "-serve", "-pace=0", "-patience=500ms")
	p.await("auth: Ada signs out")
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two rounds more, of which nobody hears
		p.await("user: Zoë's account is deactivated")
		p.await("user: Ada opens a page")
	}
	p.interrupt()
	r := p.wait()
	if r.status != 1 || !strings.HasPrefix(r.last, "published ") || strings.HasSuffix(r.last, " lost 0") {
		t.Fatalf("exit status %d and last line %q\n%s", r.status, r.last, r.stderr)
	}
}

func TestABrokerThatIsNotThereIsSaidWithTheRemedy(t *testing.T) {
	silent := listen(t)
	closed := listen(t)
	closed.Close()
	for name, c := range map[string]struct{ url, says string }{
		"refused":        {"redis://:sesame@" + closed.Addr().String(), "name another one"},
		"silent":         {"redis://:sesame@" + silent.Addr().String(), "name another one"},
		"unknown scheme": {"carrier-pigeon://:sesame@coop", "no driver for carrier-pigeon://"},
		"no URL":         {"localhost:6379", "redis://localhost:6379"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			r := start(t, c.url).wait()
			if r.status != 1 || !strings.Contains(r.stderr, c.says) {
				t.Errorf("exit status %d, stderr:\n%s", r.status, r.stderr)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if strings.Contains(r.stdout+r.stderr, "sesame") {
				t.Errorf("the password is shown:\n%s\n%s", r.stdout, r.stderr)
			}
		})
	}
}

func TestHelpShowsNoPassword(t *testing.T) {
	r := start(t, "redis://:sesame@localhost", "-help").wait()
	if r.status != 0 || !strings.Contains(r.stderr, "-drop") || strings.Contains(r.stderr, "sesame") {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
}

// listen accepts connections, by the kernel's grace, and never answers.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
