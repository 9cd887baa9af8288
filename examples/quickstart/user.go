package main

import (
	"context"
	"database/sql"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// A userService changes users: their profiles, their preferences, their roles. actor is the user who asks for the
// change.
type userService struct {
	db     *store
	events bus.Publisher
}

// UpdateProfile changes a user's name. The event says which fields changed, and never their values.
func (s *userService) UpdateProfile(ctx context.Context, user, actor int64, name string) error {
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `UPDATE users SET name = ? WHERE id = ?`, name, user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewUserUpdated(
		userservice.UserUpdatedPayload{UserID: user, UpdatedFields: []string{"name"}}, actor))
	return nil
}

// UpdatePreferences changes a user's theme.
func (s *userService) UpdatePreferences(ctx context.Context, user, actor int64, theme string) error {
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `UPDATE users SET theme = ? WHERE id = ?`, theme, user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewPreferencesUpdated(
		userservice.PreferencesUpdatedPayload{UserID: user, UpdatedFields: []string{"theme"}}, actor))
	return nil
}

// Deactivate keeps a user from signing in.
func (s *userService) Deactivate(ctx context.Context, user, actor int64, reason string) error {
	err := s.db.inTx(ctx, func(tx *sql.Tx) error {
		return change(ctx, tx, `UPDATE users SET status = 'deactivated' WHERE id = ?`, user)
	})
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewUserDeactivated(
		userservice.UserDeactivatedPayload{UserID: user, Reason: reason}, actor))
	return nil
}

// AssignRole gives a user a role.
func (s *userService) AssignRole(ctx context.Context, user, actor int64, role string) error {
	roles, err := s.changeRole(ctx, user, `INSERT INTO roles (user_id, name) VALUES (?, ?)`, role)
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewRoleAssigned(
		userservice.RoleAssignedPayload{UserID: user, RoleName: role, CurrentRoles: roles}, actor))
	return nil
}

// RevokeRole takes a role from a user.
func (s *userService) RevokeRole(ctx context.Context, user, actor int64, role string) error {
	roles, err := s.changeRole(ctx, user, `DELETE FROM roles WHERE user_id = ? AND name = ?`, role)
	if err != nil {
		return err
	}
	announce(ctx, s.events, userservice.NewRoleRevoked(
		userservice.RoleRevokedPayload{UserID: user, RoleName: role, CurrentRoles: roles}, actor))
	return nil
}

// changeRole runs a statement on a user's role and returns all roles as they are after it, read in its transaction.
func (s *userService) changeRole(ctx context.Context, user int64, statement, role string) (roles []string, err error) {
	err = s.db.inTx(ctx, func(tx *sql.Tx) error {
		if err := change(ctx, tx, statement, user, role); err != nil {
			return err
		}
		roles, err = rolesOf(ctx, tx, user)
		return err
	})
	return roles, err
}
