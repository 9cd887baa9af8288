// Package subscribers has subscribers in Python and Node.js, which know nothing of this library. Its tests run them
// against a redis-server and compare what they print with what was published in Go.
package subscribers

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// A sample is an event and what the subscribers make of it: the fields of its line before the event id. An empty one
// means that the event is not for that subscriber.
type sample struct {
	event    schema.Event
	security string
	user     string
}

// samples are events of many types, with everything that is awkward in another language.
func samples() []sample {
	critical := userservice.NewMFADisabled(userservice.MFADisabledPayload{UserID: 7, Method: "totp"})
	critical.Priority = schema.Critical
	return []sample{
		{
			event: userservice.NewUserRegistered(userservice.UserRegisteredPayload{
				UserID: 123, Email: "zoë@exämple.com", Name: "Zoë 李小龍 👩🏽‍🚀 <&>\u2028", Status: "pending_verification",
				Roles: []string{"user"},
			}),
			user: "user.registered\tnormal\tuser:123\twelcome Zoë 李小龍 👩🏽‍🚀 <&>� <zoë@exämple.com>",
		},
		{
			event: userservice.NewRoleAssigned(userservice.RoleAssignedPayload{
				UserID: 456, RoleName: "admin", CurrentRoles: []string{"user", "admin"},
			}, 1),
			security: "role.assigned\thigh\tuser:456\tALERT admin role assigned by user:1",
		},
		{
			event: userservice.NewRoleAssigned(userservice.RoleAssignedPayload{
				UserID: 456, RoleName: "editor", CurrentRoles: nil,
			}, 1),
			security: "role.assigned\thigh\tuser:456\tnoted",
		},
		{
			event:    critical,
			security: "mfa.disabled\tcritical\tuser:7\tALERT second factor totp switched off",
		},
		{ // the account is unknown: no subject
			event: userservice.NewLoginFailed(userservice.LoginFailedPayload{
				Identifier: "mallory\n\x1b[2J@example.com", Reason: "unknown account",
			}, "2001:db8::1", "curl/8"),
			security: "login.failed\thigh\tnull\tALERT login as mallory��[2J@example.com failed from 2001:db8::1: " +
				"unknown account",
		},
		{ // the largest integer that all three languages read alike
			event: userservice.NewLoginFailed(userservice.LoginFailedPayload{
				UserID: 1<<53 - 1, Identifier: "ada", Reason: "wrong password",
			}, "", ""),
			security: "login.failed\thigh\tuser:9007199254740991\tALERT login as ada failed from ?: wrong password",
		},
		{
			event: userservice.NewUserUpdated(userservice.UserUpdatedPayload{
				UserID: 123, UpdatedFields: []string{"name", "straße"},
			}, 123),
			user: "user.updated\tnormal\tuser:123\tprofile changed by user:123: name, straße",
		},
		{
			event: userservice.NewPreferencesUpdated(userservice.PreferencesUpdatedPayload{UserID: 123}, 9),
			user:  "preferences.updated\tlow\tuser:123\tpreferences changed by user:9: ",
		},
		{
			event:    userservice.NewUserDeactivated(userservice.UserDeactivatedPayload{UserID: 123, Reason: "he left"}, 1),
			security: "user.deactivated\thigh\tuser:123\tnoted",
			user:     "user.deactivated\thigh\tuser:123\tdeactivated by user:1: he left",
		},
		{ // for neither
			event: userservice.NewLogout(userservice.LogoutPayload{UserID: 123, SessionID: "s"}),
		},
		{
			event: userservice.NewUserDeleted(userservice.UserDeletedPayload{UserID: 123, Reason: "asked to"}, 1),
			user:  "user.deleted\thigh\tuser:123\tdeleted by user:1: asked to",
		},
	}
}

// linesFor gives the samples their ids, and returns what a subscriber has to print.
func linesFor(name string, samples []sample) (lines []string) {
	for i := range samples {
		s := &samples[i]
		if s.event.ID == "" {
			s.event.ID = schema.NewID()
		}
		if line := map[string]string{"security": s.security, "user": s.user}[name]; line != "" {
			lines = append(lines, line+"\t"+s.event.ID)
		}
	}
	return lines
}

// rubbish is what a subscriber has to survive: it prints nothing for it.
var rubbish = []string{
	"", "rubbish", "[]", "null", "7", `"text"`, "{}", `{"event_type":"user.registered"}`, "\xff\xfe", `{"event_id":`,
	`{"event_id":7,"event_type":7,"priority":7,"subject":7,"actor":7,"resource":7,"data":7,"metadata":7}`,
	strings.Repeat("[", 100_000),
}

func TestTheyPrintWhatGoPublishes(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	b := open(t, server.URL())
	samples := samples()
	for _, l := range languages {
		for _, name := range []string{"security", "user"} {
			lines := linesFor(name, samples)
			t.Run(l.name+" "+name, func(t *testing.T) {
				p := start(t, l, name, server.URL(), "--count", strconv.Itoa(len(lines)))
				p.expect("ready")
				for _, body := range rubbish {
					if _, err := server.Do(t.Context(), "PUBLISH", "user_service.events."+name, body); err != nil {
						t.Fatal(err)
					}
				}
				publish(t, b, samples)
				p.expect(lines...)
				stderr := p.end(0)
				if n := strings.Count(stderr, "skipped a message"); n != len(rubbish) {
					t.Errorf("skipped %d messages of %d:\n%s", n, len(rubbish), stderr)
				}
			})
		}
	}
}

func TestTheyReconnectAndEndWhenToldTo(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run(l.name+" "+sig.String(), func(t *testing.T) {
				server := testbroker.RealRedis(t)
				b := open(t, server.URL())
				samples := samples()
				lines := linesFor("security", samples)
				p := start(t, l, "security", server.URL())
				p.expect("ready")
				publish(t, b, samples)
				p.expect(lines...)

				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.expect("ready")
				publish(t, b, samples)
				p.expect(lines...)

				p.signal(sig)
				stderr := p.end(0)
				for _, text := range []string{"not connected", "stopped after " + strconv.Itoa(2*len(lines)) + " events"} {
					if !strings.Contains(stderr, text) {
						t.Errorf("it does not say %q:\n%s", text, stderr)
					}
				}
			})
		}
	}
}

func TestTheyWaitForAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			server := testbroker.RealRedis(t)
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			p := start(t, l, "user", server.URL())
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.expect("ready")
			p.signal(os.Interrupt)
			p.end(0)
		})
	}
}

func TestAWrongPasswordEndsThemWithoutBeingShown(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			server := testbroker.StartRedis(t, testbroker.RedisOptions{Password: "sesame"})
			_, port, _ := net.SplitHostPort(server.Addr())
			for _, url := range []string{"redis://:abracadabra@127.0.0.1:" + port, "coop://:abracadabra@pigeon"} {
				stderr := start(t, l, "user", url).end(1)
				if stderr == "" || strings.Contains(stderr, "abracadabra") {
					t.Errorf("it says %q", stderr)
				}
			}
		})
	}
}

// A half-open connection: nothing says that it is gone.
func TestTheyNoticeASilentConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("only in full runs: it waits for 15 seconds")
	}
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			proxy := testbroker.StartProxy(t, testbroker.RealRedis(t).Addr())
			p := start(t, l, "user", proxy.URL())
			p.expect("ready")
			proxy.HalfOpen()
			p.expect("ready")
			p.signal(os.Interrupt)
			p.end(0)
		})
	}
}

func open(t *testing.T, url string) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), url+"?read_timeout=30s&write_timeout=30s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return b
}

// publish publishes one event after the other, so that they arrive in this order.
func publish(t *testing.T, b *bus.Bus, samples []sample) {
	t.Helper()
	for _, s := range samples {
		if err := b.Publish(t.Context(), s.event); err != nil {
			t.Fatal(err)
		}
	}
}
