package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// Five subscribers. In production each would be a program of its own; none of them knows who publishes.
//
// What a handler returns is what becomes of the event: nil, and it is done with; an error, and it is tried again,
// with a growing delay; bus.Permanent, and it is given up at once.

type subscribers struct {
	out           *console
	email         *email
	security      *securityDesk
	authorisation *permissionCache
	audit         *auditTrail
	analytics     *analytics
}

func newSubscribers(out *console, db *databases) *subscribers {
	return &subscribers{
		out:           out,
		email:         &email{out: out, addresses: make(map[int64]string)},
		security:      &securityDesk{out: out},
		authorisation: &permissionCache{out: out, db: db.users, roles: make(map[int64][]string)},
		audit:         &auditTrail{out: out, db: db.audit},
		analytics:     &analytics{out: out, counts: make(map[string]int)},
	}
}

func (s *subscribers) subscriptions() []bus.Subscription {
	return []bus.Subscription{
		s.email.subscription(), s.security.subscription(), s.authorisation.subscription(),
		s.audit.subscription(), s.analytics.subscription(),
	}
}

// report prints what those have to show who say nothing while events come.
func (s *subscribers) report(ctx context.Context) error {
	s.out.line("")
	s.analytics.report()
	return s.audit.report(ctx)
}

// An email writes to users: a welcome, and a confirmation when a second factor was switched on.
type email struct {
	out *console

	mu        sync.Mutex
	addresses map[int64]string // learnt from user.registered: other events name the user only by id
}

// subscription has a typed handler for each event type: the payload comes decoded. No channel is named, so the bus
// reads the narrowest one that carries both types.
func (m *email) subscription() bus.Subscription {
	return bus.Subscription{
		Name: "email",
		Handlers: []bus.TypedHandler{
			bus.On(userservice.UserRegistered, m.welcome),
			bus.On(userservice.MFAEnabled, m.confirmMFA),
		},
	}
}

var welcomeMail = template.Must(template.New("welcome").Parse(`To: {{.Email}}
Subject: Welcome, {{.Name}}!
| Your account is number {{.UserID}}. Please confirm your address.`))

func (m *email) welcome(_ context.Context, _ schema.Event, p userservice.UserRegisteredPayload) error {
	m.mu.Lock()
	m.addresses[p.UserID] = p.Email
	m.mu.Unlock()
	return m.send(welcomeMail, p)
}

var mfaMail = template.Must(template.New("mfa").Parse(`To: {{.Address}}
Subject: Your second factor is on
| Keep your {{.BackupCodesCount}} backup codes in a safe place.`))

// confirmMFA finds the address, since events of one user are handled in the order they were published: whoever
// registered first was welcomed first.
func (m *email) confirmMFA(_ context.Context, _ schema.Event, p userservice.MFAEnabledPayload) error {
	m.mu.Lock()
	address, known := m.addresses[p.UserID]
	m.mu.Unlock()
	if !known { // registered before this program was started
		return bus.Permanent(fmt.Errorf("no address for user %d", p.UserID))
	}
	return m.send(mfaMail, struct {
		userservice.MFAEnabledPayload
		Address string
	}{p, address})
}

func (m *email) send(mail *template.Template, data any) error {
	var text strings.Builder
	if err := mail.Execute(&text, data); err != nil {
		return bus.Permanent(err) // the same template fails the same way again
	}
	m.out.effect("email", "%s", text.String())
	return nil
}

// A securityDesk raises alerts.
type securityDesk struct{ out *console }

// subscription wants three types which the rules send to the channel "security", so that is what the bus reads.
func (d *securityDesk) subscription() bus.Subscription {
	return bus.Subscription{
		Name: "security",
		Handlers: []bus.TypedHandler{
			bus.On(userservice.RoleAssigned, d.roleAssigned),
			bus.On(userservice.MFADisabled, d.mfaDisabled),
			bus.On(userservice.LoginFailed, d.loginFailed),
		},
	}
}

func (d *securityDesk) roleAssigned(_ context.Context, e schema.Event, p userservice.RoleAssignedPayload) error {
	if p.RoleName == "admin" {
		d.alert(e, "%s is an administrator now, by %s", e.Subject, e.Actor)
	}
	return nil
}

func (d *securityDesk) mfaDisabled(_ context.Context, e schema.Event, p userservice.MFADisabledPayload) error {
	d.alert(e, "%s has no second factor any more (%s)", e.Subject, p.Method)
	return nil
}

func (d *securityDesk) loginFailed(_ context.Context, e schema.Event, p userservice.LoginFailedPayload) error {
	d.alert(e, "login as %s failed: %s, from %s", p.Identifier, p.Reason, e.Metadata.Text("ip"))
	return nil
}

func (d *securityDesk) alert(e schema.Event, format string, args ...any) {
	d.out.effect("security", "ALERT (%s) %s", e.Priority, fmt.Sprintf(format, args...))
}

// A permissionCache spares the database: it remembers users' roles until an event says that they have changed.
type permissionCache struct {
	out *console
	db  *store

	mu    sync.Mutex
	roles map[int64][]string
}

// subscription wants types by pattern, also those that will be added later.
func (c *permissionCache) subscription() bus.Subscription {
	return bus.Subscription{
		Name:    "authorisation",
		Events:  []string{"role.*", "permission.*"},
		Handler: c.invalidate,
	}
}

func (c *permissionCache) invalidate(_ context.Context, e schema.Event) error {
	kind, user, ok := schema.ParseRef(e.Subject)
	if !ok || kind != "user" {
		return bus.Permanent(fmt.Errorf("subject %q names no user", e.Subject))
	}
	c.mu.Lock()
	roles, cached := c.roles[user]
	delete(c.roles, user)
	c.mu.Unlock()
	if cached {
		c.out.effect("authorisation", "dropped the cached roles of %s: %s", e.Subject, strings.Join(roles, ", "))
	}
	return nil
}

// Roles returns a user's roles, and says where it has them from. It holds the lock while it reads the database:
// suppose it did not, and read the old roles, then a change was committed and its event handled: the old roles would
// be put into the cache after they had been dropped from it, and stay.
func (c *permissionCache) Roles(ctx context.Context, user int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	roles, cached := c.roles[user]
	from := "cached"
	if !cached {
		var err error
		if roles, err = rolesOf(ctx, c.db, user); err != nil {
			return err
		}
		c.roles[user] = roles
		from = "read from the database"
	}
	c.out.effect("authorisation", "user:%d has the roles %s (%s)", user, strings.Join(roles, ", "), from)
	return nil
}

// An auditTrail keeps every event.
type auditTrail struct {
	out *console
	db  *store
}

// subscription names the channel that carries everything.
func (a *auditTrail) subscription() bus.Subscription {
	return bus.Subscription{
		Name:     "audit",
		Channels: []string{"user_service.events.all"},
		Handler:  a.keep,
	}
}

// keep stores the envelope as it came. An event that comes twice is stored once, so that a retry does no harm; an
// error of the database is worth one, and is returned as it is.
func (a *auditTrail) keep(ctx context.Context, e schema.Event) error {
	envelope, err := schema.Encode(e)
	if err != nil {
		return bus.Permanent(err)
	}
	_, err = a.db.ExecContext(ctx,
		`INSERT INTO audit (event_id, event_type, subject, actor, time, envelope)
		 VALUES (?, ?, nullif(?, ''), nullif(?, ''), ?, ?) ON CONFLICT DO NOTHING`,
		e.ID, e.Type, e.Subject, e.Actor, e.Time.Format(time.RFC3339Nano), string(envelope))
	return err
}

func (a *auditTrail) report(ctx context.Context) error {
	var rows, subjects int
	err := a.db.QueryRowContext(ctx, `SELECT count(*), count(DISTINCT subject) FROM audit`).Scan(&rows, &subjects)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.out.effect("audit", "%d rows in the audit table, about %d users", rows, subjects)
	return nil
}

// An analytics counts events by type.
type analytics struct {
	out *console

	mu     sync.Mutex
	counts map[string]int
}

// subscription wants every type: ">" stands for one or more tokens of a name.
func (a *analytics) subscription() bus.Subscription {
	return bus.Subscription{
		Name:    "analytics",
		Events:  []string{">"},
		Handler: a.count,
	}
}

func (a *analytics) count(_ context.Context, e schema.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[e.Type]++
	return nil
}

func (a *analytics) report() {
	a.mu.Lock()
	defer a.mu.Unlock()
	var table strings.Builder
	for _, eventType := range slices.Sorted(maps.Keys(a.counts)) {
		fmt.Fprintf(&table, "%4d  %s\n", a.counts[eventType], eventType)
	}
	a.out.effect("analytics", "%s", table.String())
}
