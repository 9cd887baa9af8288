package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"log/slog"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// An authService registers users, and opens and ends their sessions.
//
// Each of its operations has the same three steps: check, change the database in one transaction, and, once that has
// committed, say what has happened.
type authService struct {
	db     *store
	events bus.Publisher // all that it knows of the bus: no broker, no channel, no subscriber
}

// announce publishes what has happened, after the commit: before it, an event could tell of a change that is then
// rolled back.
//
// Emit returns at once, whatever state the broker is in, so that a broken broker neither fails nor slows the
// operation. An error is about the event itself, which is a bug to be logged, and no reason to fail what has been
// committed.
func announce(ctx context.Context, p bus.Publisher, events ...schema.Event) {
	if err := p.Emit(ctx, events...); err != nil {
		slog.ErrorContext(ctx, "event not published", "err", err)
	}
}

// pending is the status of a user whose address is not confirmed yet.
const pending = "pending_verification"

// Register adds a user with the role "user".
func (s *authService) Register(ctx context.Context, name, email, password string) (id int64, err error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	hash := hashPassword(password, salt)

	err = s.db.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`INSERT INTO users (email, name, status, salt, hash) VALUES (?, ?, ?, ?, ?) RETURNING id`,
			email, name, pending, salt, hash).Scan(&id)
		if err != nil {
			return err
		}
		return change(ctx, tx, `INSERT INTO roles (user_id, name) VALUES (?, 'user')`, id)
	})
	if err != nil {
		return 0, err
	}

	announce(ctx, s.events, userservice.NewUserRegistered(userservice.UserRegisteredPayload{
		UserID: id, Email: email, Name: name, Status: pending, Roles: []string{"user"},
	}))
	return id, nil
}

// errLoginFailed tells whoever tries to sign in no more than that it failed. Why is in the event.
var errLoginFailed = errors.New("login failed")

// A client is where a request comes from.
type client struct{ ip, userAgent string }

// Login opens a session and returns its id.
func (s *authService) Login(ctx context.Context, email, password string, from client) (session string, err error) {
	user, known, right, err := s.check(ctx, email, password)
	switch {
	case err != nil:
		return "", err
	case !known: // nobody to name as the subject
		announce(ctx, s.events, userservice.NewLoginFailed(userservice.LoginFailedPayload{
			Identifier: email, Reason: "unknown account",
		}, from.ip, from.userAgent))
		return "", errLoginFailed
	case !right:
		return "", s.refuse(ctx, user, email, from)
	}

	session = rand.Text()
	err = s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `INSERT INTO sessions (id, user_id) VALUES (?, ?)`, session, user)
	})
	if err != nil {
		return "", err
	}

	device := sha256.Sum256([]byte(from.userAgent))
	announce(ctx, s.events,
		userservice.NewSessionCreated(userservice.SessionCreatedPayload{UserID: user, SessionID: session}),
		userservice.NewLoginSuccess(userservice.LoginSuccessPayload{
			UserID: user, SessionID: session, DeviceFingerprint: hex.EncodeToString(device[:8]),
		}, from.ip))
	return session, nil
}

// check looks a user up and checks the password. It takes as long for an account that nobody has.
func (s *authService) check(ctx context.Context, email, password string) (user int64, known, right bool, err error) {
	var salt, hash []byte
	err = s.db.QueryRowContext(ctx,
		`SELECT id, salt, hash FROM users WHERE email = ? AND status != 'deactivated'`, email).Scan(&user, &salt, &hash)
	known = err == nil
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	right = subtle.ConstantTimeCompare(hashPassword(password, salt), hash) == 1
	return user, known, known && right, err
}

// refuse records a wrong password.
func (s *authService) refuse(ctx context.Context, user int64, email string, from client) error {
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `UPDATE users SET failed_logins = failed_logins + 1 WHERE id = ?`, user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewLoginFailed(userservice.LoginFailedPayload{
		UserID: user, Identifier: email, Reason: "wrong password",
	}, from.ip, from.userAgent))
	return errLoginFailed
}

// Logout ends a session.
func (s *authService) Logout(ctx context.Context, session string) error {
	var user int64
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx,
			`UPDATE sessions SET revoked = 1 WHERE id = ? AND revoked = 0 RETURNING user_id`, session).Scan(&user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events,
		userservice.NewSessionRevoked(userservice.SessionRevokedPayload{
			UserID: user, SessionID: session, Reason: "logout",
		}),
		userservice.NewLogout(userservice.LogoutPayload{UserID: user, SessionID: session}))
	return nil
}

// rounds is kept low for an example that registers users in a loop. OWASP recommends 600,000 for PBKDF2 with SHA-256.
const rounds = 10_000

func hashPassword(password string, salt []byte) []byte {
	hash, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // the parameters are constants
	}
	return hash
}
