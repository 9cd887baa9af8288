package userservice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/schema"
)

// The catalogue of the contract, written down a second time: what each constructor has to make of user 7, actor 9 and
// trading account 5.
var contract = []struct {
	event                    schema.Event
	name, priority           string
	subject, actor, resource string // "" for null
	data                     string // the keys of data, in their order
	metadata                 string
}{
	{NewUserRegistered(UserRegisteredPayload{UserID: 7}), "user.registered", "normal", "user:7", "", "",
		"user_id email name status roles", ""},
	{NewUserUpdated(UserUpdatedPayload{UserID: 7}, 9), "user.updated", "normal", "user:7", "user:9", "",
		"user_id updated_fields", ""},
	{NewUserActivated(UserActivatedPayload{UserID: 7}, 9), "user.activated", "normal", "user:7", "user:9", "", "user_id", ""},
	{NewUserDeactivated(UserDeactivatedPayload{UserID: 7}, 9), "user.deactivated", "high", "user:7", "user:9", "",
		"user_id reason", ""},
	{NewUserDeleted(UserDeletedPayload{UserID: 7}, 9), "user.deleted", "high", "user:7", "user:9", "", "user_id reason", ""},
	{NewLoginSuccess(LoginSuccessPayload{UserID: 7}, "192.0.2.1"), "login.success", "normal", "user:7", "", "",
		"user_id session_id mfa_verified device_fingerprint", "ip"},
	{NewLoginFailed(LoginFailedPayload{UserID: 7}, "192.0.2.1", "curl"), "login.failed", "high", "user:7", "", "",
		"user_id identifier reason", "ip user_agent"},
	{NewLoginFailed(LoginFailedPayload{}, "192.0.2.1", "curl"), "login.failed", "high", "", "", "",
		"identifier reason", "ip user_agent"},
	{NewLogout(LogoutPayload{UserID: 7}), "logout", "normal", "user:7", "", "", "user_id session_id", ""},
	{NewTokenRefreshed(TokenRefreshedPayload{UserID: 7}), "token.refreshed", "low", "user:7", "", "", "user_id session_id", ""},
	{NewMFAEnabled(MFAEnabledPayload{UserID: 7}), "mfa.enabled", "high", "user:7", "", "",
		"user_id method backup_codes_count", ""},
	{NewMFADisabled(MFADisabledPayload{UserID: 7}), "mfa.disabled", "high", "user:7", "", "", "user_id method", ""},
	{NewMFAVerified(MFAVerifiedPayload{UserID: 7}), "mfa.verified", "normal", "user:7", "", "", "user_id method", ""},
	{NewMFAFailed(MFAFailedPayload{UserID: 7}), "mfa.failed", "high", "user:7", "", "", "user_id method attempts", ""},
	{NewPermissionGranted(PermissionGrantedPayload{UserID: 7}, 9), "permission.granted", "high", "user:7", "user:9", "",
		"user_id permission", ""},
	{NewPermissionRevoked(PermissionRevokedPayload{UserID: 7}, 9), "permission.revoked", "high", "user:7", "user:9", "",
		"user_id permission", ""},
	{NewRoleAssigned(RoleAssignedPayload{UserID: 7}, 9), "role.assigned", "high", "user:7", "user:9", "",
		"user_id role_name current_roles", ""},
	{NewRoleRevoked(RoleRevokedPayload{UserID: 7}, 9), "role.revoked", "high", "user:7", "user:9", "",
		"user_id role_name current_roles", ""},
	{NewPreferencesUpdated(PreferencesUpdatedPayload{UserID: 7}, 9), "preferences.updated", "low", "user:7", "user:9", "",
		"user_id updated_fields", ""},
	{NewTradingAccountLinked(TradingAccountLinkedPayload{UserID: 7, TradingAccountID: 5}), "trading_account.linked", "normal",
		"user:7", "", "trading_account:5", "user_id trading_account_id broker", ""},
	{NewTradingAccountUnlinked(TradingAccountUnlinkedPayload{UserID: 7, TradingAccountID: 5}), "trading_account.unlinked",
		"normal", "user:7", "", "trading_account:5", "user_id trading_account_id broker reason", ""},
	{NewTradingAccountUpdated(TradingAccountUpdatedPayload{UserID: 7, TradingAccountID: 5}), "trading_account.updated",
		"normal", "user:7", "", "trading_account:5", "user_id trading_account_id updated_fields", ""},
	{NewMembershipGranted(MembershipGrantedPayload{UserID: 7, TradingAccountID: 5}, 9), "membership.granted", "normal",
		"user:7", "user:9", "trading_account:5", "user_id trading_account_id permissions", ""},
	{NewMembershipRevoked(MembershipRevokedPayload{UserID: 7, TradingAccountID: 5}, 9), "membership.revoked", "normal",
		"user:7", "user:9", "trading_account:5", "user_id trading_account_id reason", ""},
	{NewPasswordChanged(PasswordChangedPayload{UserID: 7}), "password.changed", "high", "user:7", "", "", "user_id", ""},
	{NewPasswordResetRequested(PasswordResetRequestedPayload{UserID: 7}), "password.reset_requested", "high", "user:7", "", "",
		"user_id", ""},
	{NewPasswordResetCompleted(PasswordResetCompletedPayload{UserID: 7}), "password.reset_completed", "high", "user:7", "", "",
		"user_id", ""},
	{NewSessionCreated(SessionCreatedPayload{UserID: 7}), "session.created", "normal", "user:7", "", "",
		"user_id session_id", ""},
	{NewSessionRevoked(SessionRevokedPayload{UserID: 7}), "session.revoked", "normal", "user:7", "", "",
		"user_id session_id reason", ""},
}

func TestTheConstructorsFollowTheContract(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range contract {
		names[c.name] = true
		e := c.event
		if e.Type != c.name || e.Priority.String() != c.priority || e.Source != "user_service" || e.Key() != c.subject {
			t.Errorf("%s: type %q, priority %v, source %q, key %q", c.name, e.Type, e.Priority, e.Source, e.Key())
		}
		if e.Subject != c.subject || e.Actor != c.actor || e.Resource != c.resource {
			t.Errorf("%s: subject %q, actor %q, resource %q", c.name, e.Subject, e.Actor, e.Resource)
		}
		if got := strings.Join(keysOf(t, e.Data), " "); got != c.data {
			t.Errorf("%s: data has %s, want %s", c.name, got, c.data)
		}
		if got := strings.Join(slices.Collect(e.Metadata.Keys()), " "); got != c.metadata {
			t.Errorf("%s: metadata has %s, want %s", c.name, got, c.metadata)
		}
		info, ok := Events.Lookup(c.name)
		if !ok || info.Priority != e.Priority || info.Source != Source {
			t.Errorf("%s: the catalogue says %+v, %v", c.name, info, ok)
		}
		e.ID, e.Time = schema.NewID(), time.Now()
		if err := e.Validate(schema.DefaultForbidden()); err != nil {
			t.Error(err)
		}
	}
	if n := len(Events.Types()); n != 28 || len(names) != 28 {
		t.Errorf("%d types, %d of them in this table: the contract has 28", n, len(names))
	}
}

// keysOf returns the keys of a JSON object in their order.
func keysOf(t *testing.T, data []byte) []string {
	t.Helper()
	var keys []string
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("%s: %v", data, err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if value == nil {
			t.Errorf("%s: %v is null", data, key)
		}
		keys = append(keys, fmt.Sprint(key))
	}
	return keys
}

func TestTheGoldenFilesAreWhatTheConstructorsMake(t *testing.T) {
	for name, e := range map[string]schema.Event{
		"user.registered": at("550e8400-e29b-41d4-a716-446655440000", "2025-11-03T10:30:00Z", NewUserRegistered(
			UserRegisteredPayload{
				UserID: 123, Email: "john.doe@example.com", Name: "John Doe", Status: "pending_verification",
				Roles: []string{"user"},
			})),
		"role.assigned": at("650e8400-e29b-41d4-a716-446655440001", "2025-11-03T15:15:00+01:00", NewRoleAssigned(
			RoleAssignedPayload{UserID: 456, RoleName: "admin", CurrentRoles: []string{"user", "admin"}}, 1)),
		"mfa.enabled": at("750e8400-e29b-41d4-a716-446655440002", "2025-11-03T16:45:00Z", NewMFAEnabled(
			MFAEnabledPayload{UserID: 789, Method: "totp", BackupCodesCount: 10})),
	} {
		want, err := os.ReadFile(filepath.Join("testdata", "golden", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := schema.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func at(id, timestamp string, e schema.Event) schema.Event {
	t, err := time.Parse(time.RFC3339, timestamp)
	if err != nil {
		panic(err)
	}
	e.ID, e.Time = id, t
	return e
}

func TestTheGoldenFilesSurviveDecodeAndEncode(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := schema.Decode(want, 0)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if got, err := schema.Encode(e); err != nil || string(got)+"\n" != string(want) {
			t.Errorf("%s: %v:\ngot  %s\nwant %s", file, err, got, want)
		}
	}
}

func TestATypeReadsWhatItsConstructorMade(t *testing.T) {
	want := LoginSuccessPayload{UserID: 7, SessionID: "s-1", MFAVerified: true, DeviceFingerprint: "f"}
	e := NewLoginSuccess(want, "192.0.2.1")
	if got, err := LoginSuccess.Decode(e); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if ip := e.Metadata.Text("ip"); ip != "192.0.2.1" {
		t.Errorf("ip %q", ip)
	}
}

func TestWhoFailsToSignInCannotMakeTheEventUnpublishable(t *testing.T) {
	junk := strings.Repeat("\xff\x00\"é", 1<<20)
	e := NewLoginFailed(LoginFailedPayload{Identifier: junk, Reason: "unknown_account"}, junk, junk)
	e.ID, e.Time = schema.NewID(), time.Now()
	b, err := schema.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 16<<10 {
		t.Errorf("%d bytes", len(b))
	}
	back, err := schema.Decode(b, 0)
	if err != nil || back.Metadata.Len() != 2 {
		t.Errorf("%v, %d metadata", err, back.Metadata.Len())
	}
}

func TestEmptyAddressesAreLeftOut(t *testing.T) {
	for _, e := range []schema.Event{NewLoginSuccess(LoginSuccessPayload{}, ""), NewLoginFailed(LoginFailedPayload{}, "", "")} {
		if n := e.Metadata.Len(); n != 0 {
			t.Errorf("%s: %d metadata", e.Type, n)
		}
	}
}

func ExampleNewRoleAssigned() {
	e := NewRoleAssigned(RoleAssignedPayload{
		UserID: 456, RoleName: "admin", CurrentRoles: []string{"user", "admin"},
	}, 1)
	fmt.Println(e.Type, e.Priority, e.Subject, e.Actor)
	fmt.Println(string(e.Data))
	// Output:
	// role.assigned high user:456 user:1
	// {"user_id":456,"role_name":"admin","current_roles":["user","admin"]}
}

func BenchmarkPayload(b *testing.B) {
	e := NewRoleAssigned(RoleAssignedPayload{UserID: 456, RoleName: "admin", CurrentRoles: []string{"user", "admin"}}, 1)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := RoleAssigned.Decode(e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p RoleAssignedPayload
			if err := json.Unmarshal(e.Data, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.Run("MFAEnabled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewMFAEnabled(MFAEnabledPayload{UserID: 789, Method: "totp", BackupCodesCount: 10})
		}
	})
	b.Run("RoleAssigned", func(b *testing.B) {
		roles := []string{"user", "admin"}
		b.ReportAllocs()
		for b.Loop() {
			NewRoleAssigned(RoleAssignedPayload{UserID: 456, RoleName: "admin", CurrentRoles: roles}, 1)
		}
	})
}
