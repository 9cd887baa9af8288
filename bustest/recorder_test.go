package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/bustest"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// A notebook is a TB that notes failures.
type notebook struct {
	*testing.T
	failures []string
}

func (n *notebook) Errorf(format string, args ...any) {
	n.failures = append(n.failures, fmt.Sprintf(format, args...))
}

// says fails the test unless there is one failure that contains all of the texts.
func (n *notebook) says(texts ...string) {
	n.Helper()
	if len(n.failures) != 1 {
		n.Fatalf("%d failures: %q", len(n.failures), n.failures)
	}
	for _, s := range texts {
		if !strings.Contains(n.failures[0], s) {
			n.Fatalf("the failure does not say %q:\n%s", s, n.failures[0])
		}
	}
	n.failures = nil
}

func (n *notebook) saysNothing() {
	n.Helper()
	if len(n.failures) > 0 {
		n.Fatalf("failures: %q", n.failures)
	}
}

func assigned(user int64, role string) schema.Event {
	return userservice.NewRoleAssigned(userservice.RoleAssignedPayload{UserID: user, RoleName: role}, 1)
}

func TestARecorderKeepsWhatASubscriberWouldSee(t *testing.T) {
	rec := bustest.NewRecorder(t, bus.WithSource("accounts"))
	if err := rec.Emit(t.Context(), assigned(2, "admin"), schema.Event{Type: "shop.opened"}); err != nil {
		t.Fatal(err)
	}
	if err := rec.Publish(t.Context(), assigned(3, "user")); err != nil {
		t.Fatal(err)
	}
	got := rec.Published()
	if len(got) != 3 {
		t.Fatalf("%d events, of 3", len(got))
	}
	first, opened, last := got[0], got[1], got[2]
	if first.Event.ID == "" || first.Event.Time.IsZero() || len(first.Channels) < 2 || first.Waited {
		t.Errorf("the first is %+v", first)
	}
	if opened.Event.Source != "accounts" || len(opened.Channels) == 0 {
		t.Errorf("the second is %+v", opened)
	}
	if !last.Waited || last.Event.Subject != "user:3" {
		t.Errorf("the last is %+v", last)
	}
	rec.Reset()
	if n := len(rec.Published()); n > 0 {
		t.Errorf("%d events after Reset", n)
	}
}

func TestExpectationsAreMetInOrderAndOnceEach(t *testing.T) {
	n := &notebook{T: t}
	rec := bustest.NewRecorder(n)
	_ = rec.Emit(t.Context(), assigned(1, "user"), assigned(2, "admin"), assigned(2, "user"))

	second := bustest.Event(userservice.RoleAssigned).Subject("user:2").Actor("user:1").On("user_service.events.security").
		Where(func(_ schema.Event, p userservice.RoleAssignedPayload) error {
			if p.RoleName != "admin" {
				return fmt.Errorf("the role is %s", p.RoleName)
			}
			return nil
		})
	rec.Expect(second)
	n.saysNothing()
	rec.Expect(second)
	n.says("expectation 1 of 1", "role.assigned, subject user:2", "met an expectation before", "3. role.assigned of user:2", "the role is user")
	rec.ExpectNoMore()
	n.says("1. role.assigned of user:1", "3. role.assigned")

	first, third := bustest.EventNamed("role.*").Subject("user:1"), bustest.EventNamed("role.*").Subject("user:2")
	rec.Expect(third, first)
	n.says("expectation 2 of 2", "comes too early")
	rec.Expect(first, third) // what a failed Expect had found is still there
	rec.ExpectNoMore()
	n.saysNothing()
}

func TestEachDemandOfAnExpectationCanFail(t *testing.T) {
	n := &notebook{T: t}
	rec := bustest.NewRecorder(n)
	_ = rec.Emit(t.Context(), assigned(1, "user"))
	is := bustest.Event(userservice.RoleAssigned)
	for _, tt := range []struct {
		want bustest.Expectation
		says string
	}{
		{is.Subject("user:7"), `its subject is "user:1", not "user:7"`},
		{is.Actor("user:7"), `its actor is "user:1"`},
		{is.Source("shop"), `its source is "user_service"`},
		{is.Priority(schema.Low), "its priority is"},
		{is.On("user_service.events.mfa"), "it is not on user_service.events.mfa"},
		{is.Payload(userservice.RoleAssignedPayload{UserID: 7}), "its payload is {UserID:1"},
		{bustest.EventNamed("role.assigned").Payload("{}"), `its payload is {"`},
		{bustest.EventNamed("role..assigned"), "role..assigned"},
		{bustest.EventNamed("user.*"), "1. role.assigned of user:1 on"},
	} {
		rec.Expect(tt.want)
		n.says("is not met", tt.says)
	}
	rec.Reset()
	rec.Expect(is)
	n.says("nothing was published")
}

func TestAnEventThatABusRefusesFailsTheTest(t *testing.T) {
	n := &notebook{T: t}
	rec := bustest.NewRecorder(n, bus.WithRules(router.Config{Rules: []router.Rule{{Match: []string{"shop.*"}, Channels: []string{"shop"}}}}))
	err := rec.Emit(t.Context(), schema.Event{Type: "user.created"})
	if e := new(bus.EventError); !errors.As(err, &e) || e.Stage != "route" {
		t.Errorf("Emit answers %v", err)
	}
	n.says("was refused", "user.created")
	rec.AllowRefusals()
	if err := rec.Publish(t.Context(), schema.Event{Type: "no type"}); err == nil {
		t.Error("Publish took it")
	}
	n.saysNothing()
	if r := rec.Refused(); len(r) != 2 {
		t.Errorf("Refused: %v", r)
	}
	if len(rec.Published()) > 0 {
		t.Error("it is among the published")
	}
}

func TestPublishFailsWhileTheBrokerIsDownAndEmitDoesNot(t *testing.T) {
	rec := bustest.NewRecorder(t)
	reason := errors.New("connection refused")
	rec.Down(reason)
	err := rec.Publish(t.Context(), assigned(1, "admin"))
	refused := new(bus.PublishError)
	if !errors.As(err, &refused) || !errors.Is(err, reason) || refused.Outcomes[0].State != brokers.NotSent || len(refused.Outcomes) < 2 {
		t.Errorf("Publish answers %v", err)
	}
	if err := rec.Emit(t.Context(), assigned(2, "admin")); err != nil {
		t.Errorf("Emit answers %v", err)
	}
	rec.Down(nil)
	if err := rec.Publish(t.Context(), assigned(3, "admin")); err != nil {
		t.Errorf("Publish answers %v when it is back", err)
	}
	rec.Expect(bustest.EventNamed("role.assigned").Subject("user:2"), bustest.EventNamed("role.assigned").Subject("user:3"))
	rec.ExpectNoMore()
}

func TestARecorderWithSettingsThatAreRefusedSaysSo(t *testing.T) {
	n := &notebook{T: t}
	bustest.NewRecorder(n, bus.WithRules(router.Config{Rules: []router.Rule{{Match: []string{"a..b"}, Channels: []string{"x"}}}}))
	n.says("settings are refused", "a..b")
}

// printer is what stands for a *testing.T in an example.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (printer) Cleanup(func())                    {}
func (printer) Context() context.Context          { return context.Background() }

func ExampleRecorder() {
	var t printer // a *testing.T in a test
	rec := bustest.NewRecorder(t)

	// What is tested takes a bus.Publisher.
	promote := func(ctx context.Context, p bus.Publisher, user int64) {
		_ = p.Emit(ctx, userservice.NewRoleAssigned(userservice.RoleAssignedPayload{UserID: user, RoleName: "admin"}, 1))
	}
	promote(context.Background(), rec, 456)

	rec.Expect(bustest.Event(userservice.RoleAssigned).Subject("user:456").On("user_service.events.security"))
	rec.ExpectNoMore()

	rec.Expect(bustest.Event(userservice.RoleRevoked))
	// Output:
	// bustest: expectation 1 of 1 is not met: role.revoked
	// published:
	//   1. role.assigned of user:456 on user_service.events.authz, user_service.events.security, user_service.events.all {"user_id":456,"role_name":"admin","current_roles":[]} (met an expectation before)
}
