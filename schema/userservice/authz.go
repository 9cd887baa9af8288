package userservice

import "github.com/eventbus-go/eventbus/schema"

// The events about permissions and roles.
var (
	// PermissionGranted says that a user was given a permission.
	PermissionGranted = ofUser("permission.granted", schema.High,
		func(p PermissionGrantedPayload) int64 { return p.UserID })
	// PermissionRevoked says that a user lost a permission.
	PermissionRevoked = ofUser("permission.revoked", schema.High,
		func(p PermissionRevokedPayload) int64 { return p.UserID })
	// RoleAssigned says that a user was given a role.
	RoleAssigned = ofUser("role.assigned", schema.High, func(p RoleAssignedPayload) int64 { return p.UserID })
	// RoleRevoked says that a user lost a role.
	RoleRevoked = ofUser("role.revoked", schema.High, func(p RoleRevokedPayload) int64 { return p.UserID })
)

// PermissionGrantedPayload is the payload of [PermissionGranted].
type PermissionGrantedPayload struct {
	UserID     int64  `json:"user_id"`
	Permission string `json:"permission"` // such as "reports.read"
}

// NewPermissionGranted makes a "permission.granted" event, whose actor is the user grantedBy.
func NewPermissionGranted(p PermissionGrantedPayload, grantedBy int64) schema.Event {
	return by(grantedBy, PermissionGranted.New(p))
}

// PermissionRevokedPayload is the payload of [PermissionRevoked].
type PermissionRevokedPayload struct {
	UserID     int64  `json:"user_id"`
	Permission string `json:"permission"` // such as "reports.read"
}

// NewPermissionRevoked makes a "permission.revoked" event, whose actor is the user revokedBy.
func NewPermissionRevoked(p PermissionRevokedPayload, revokedBy int64) schema.Event {
	return by(revokedBy, PermissionRevoked.New(p))
}

// RoleAssignedPayload is the payload of [RoleAssigned].
type RoleAssignedPayload struct {
	UserID       int64    `json:"user_id"`
	RoleName     string   `json:"role_name"`
	CurrentRoles []string `json:"current_roles"` // all roles after the change
}

// NewRoleAssigned makes a "role.assigned" event, whose actor is the user grantedBy.
func NewRoleAssigned(p RoleAssignedPayload, grantedBy int64) schema.Event {
	return by(grantedBy, RoleAssigned.New(p))
}

// RoleRevokedPayload is the payload of [RoleRevoked].
type RoleRevokedPayload struct {
	UserID       int64    `json:"user_id"`
	RoleName     string   `json:"role_name"`
	CurrentRoles []string `json:"current_roles"` // all roles after the change
}

// NewRoleRevoked makes a "role.revoked" event, whose actor is the user revokedBy.
func NewRoleRevoked(p RoleRevokedPayload, revokedBy int64) schema.Event {
	return by(revokedBy, RoleRevoked.New(p))
}
