package main

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// newServices returns services whose events a recorder keeps.
func newServices(t *testing.T) (*recorder, *authService, *userService, *mfaService) {
	t.Helper()
	db, err := openStore(t.Context(), filepath.Join(t.TempDir(), "users.db"), usersSchema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &recorder{}
	return r, &authService{db: db, events: r}, &userService{db: db, events: r}, &mfaService{db: db, events: r}
}

// types returns the types that were published since the last call.
func (r *recorder) types() []string {
	var types []string
	for _, e := range r.events {
		types = append(types, e.Type)
	}
	r.events = nil
	return types
}

func TestWhatIsRolledBackIsNotPublished(t *testing.T) {
	ctx := t.Context()
	r, auth, users, mfa := newServices(t)
	ada, err := auth.Register(ctx, "Ada", "ada@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mfa.Enrol(ctx, ada); err != nil {
		t.Fatal(err)
	}
	r.types()
	for _, refused := range []struct {
		name      string
		operation func() error
	}{
		{"an address that is taken", func() error { _, err := auth.Register(ctx, "Eve", "ada@example.com", ""); return err }},
		{"a session that is none", func() error { return auth.Logout(ctx, "none") }},
		{"a role that is held", func() error { return users.AssignRole(ctx, ada, root, "user") }},
		{"a role that is not held", func() error { return users.RevokeRole(ctx, ada, root, "admin") }},
		{"a user that is none", func() error { return users.Deactivate(ctx, 99, root, "who?") }},
		{"a wrong code", func() error { _, err := mfa.Confirm(ctx, ada, "no code"); return err }},
		{"a factor that is still off", func() error { return mfa.Disable(ctx, ada) }},
	} {
		if refused.operation() == nil {
			t.Errorf("%s: no error", refused.name)
		}
		if types := r.types(); len(types) > 0 {
			t.Errorf("%s: published %v", refused.name, types)
		}
	}
}

func TestAWrongCodeSwitchesNothingOn(t *testing.T) {
	_, auth, _, mfa := newServices(t)
	ada, err := auth.Register(t.Context(), "Ada", "ada@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mfa.Enrol(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if _, err := mfa.Confirm(t.Context(), ada, "no code"); !errors.Is(err, errWrongCode) {
		t.Fatal(err)
	}
	var confirmed bool
	row := mfa.db.QueryRowContext(t.Context(), `SELECT confirmed FROM totp WHERE user_id = ?`, ada)
	if err := row.Scan(&confirmed); err != nil || confirmed {
		t.Fatalf("confirmed: %v, %v", confirmed, err)
	}
}

func TestTheServicesPublishWhatTheContractSays(t *testing.T) {
	ctx := t.Context()
	r, auth, users, mfa := newServices(t)
	var (
		ada     int64
		session string
		seed    []byte
	)
	for _, step := range []struct {
		name      string
		operation func() error
		publishes []string
	}{
		{"register", func() (err error) { ada, err = auth.Register(ctx, "Ada", "ada@example.com", "secret"); return err },
			[]string{"user.registered"}},
		{"sign in", func() (err error) { session, err = auth.Login(ctx, "ada@example.com", "secret", laptop); return err },
			[]string{"session.created", "login.success"}},
		{"fail to sign in", func() error {
			if _, err := auth.Login(ctx, "ada@example.com", "guess", stranger); !errors.Is(err, errLoginFailed) {
				return errors.Join(errors.New("got in"), err)
			}
			return nil
		}, []string{"login.failed"}},
		{"sign out", func() error { return auth.Logout(ctx, session) }, []string{"session.revoked", "logout"}},
		{"profile", func() error { return users.UpdateProfile(ctx, ada, ada, "A.") }, []string{"user.updated"}},
		{"preferences", func() error { return users.UpdatePreferences(ctx, ada, ada, "dark") }, []string{"preferences.updated"}},
		{"assign", func() error { return users.AssignRole(ctx, ada, root, "admin") }, []string{"role.assigned"}},
		{"revoke", func() error { return users.RevokeRole(ctx, ada, root, "admin") }, []string{"role.revoked"}},
		{"enrol", func() (err error) { seed, err = mfa.Enrol(ctx, ada); return err }, nil},
		{"confirm", func() error { _, err := mfa.Confirm(ctx, ada, totp(seed, time.Now())); return err }, []string{"mfa.enabled"}},
		{"disable", func() error { return mfa.Disable(ctx, ada) }, []string{"mfa.disabled"}},
		{"deactivate", func() error { return users.Deactivate(ctx, ada, root, "left") }, []string{"user.deactivated"}},
	} {
		if err := step.operation(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if types := r.types(); !slices.Equal(types, step.publishes) {
			t.Errorf("%s: published %v, want %v", step.name, types, step.publishes)
		}
	}
}

func TestOnlyAKnownAccountIsTheSubjectOfAFailedLogin(t *testing.T) {
	r, auth, _, _ := newServices(t)
	if _, err := auth.Register(t.Context(), "Ada", "ada@example.com", "secret"); err != nil {
		t.Fatal(err)
	}
	r.types()
	for address, subject := range map[string]string{"ada@example.com": "user:2", "eve@example.com": ""} {
		if _, err := auth.Login(t.Context(), address, "guess", stranger); !errors.Is(err, errLoginFailed) {
			t.Fatal(err)
		}
		e := r.events[len(r.events)-1]
		if e.Type != "login.failed" || e.Subject != subject || e.Metadata.Text("ip") != stranger.ip {
			t.Errorf("%s: %s with the subject %q and the metadata %v", address, e.Type, e.Subject, e.Metadata)
		}
	}
}

func TestCodesAreThoseOfRFC6238(t *testing.T) {
	seed := []byte("12345678901234567890") // of appendix B, whose codes have eight digits
	for seconds, code := range map[int64]string{59: "287082", 1111111109: "081804", 20000000000: "353130"} {
		if got := totp(seed, time.Unix(seconds, 0)); got != code {
			t.Errorf("at %d s: %s, want %s", seconds, got, code)
		}
	}
}

func TestNamesCannotDriveTheTerminal(t *testing.T) {
	if got := visible("Zoë 🦊\x1b[2J\r\n"); got != "Zoë 🦊�[2J��" {
		t.Errorf("%q", got)
	}
}
