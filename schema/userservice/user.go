package userservice

import "github.com/eventbus-go/eventbus/schema"

// The events about users and their preferences.
var (
	// UserRegistered says that a user signed up.
	UserRegistered = ofUser("user.registered", schema.Normal,
		func(p UserRegisteredPayload) int64 { return p.UserID })
	// UserUpdated says that a user's profile changed.
	UserUpdated = ofUser("user.updated", schema.Normal, func(p UserUpdatedPayload) int64 { return p.UserID })
	// UserActivated says that a user may sign in from now on.
	UserActivated = ofUser("user.activated", schema.Normal,
		func(p UserActivatedPayload) int64 { return p.UserID })
	// UserDeactivated says that a user may not sign in any more.
	UserDeactivated = ofUser("user.deactivated", schema.High,
		func(p UserDeactivatedPayload) int64 { return p.UserID })
	// UserDeleted says that a user is gone.
	UserDeleted = ofUser("user.deleted", schema.High, func(p UserDeletedPayload) int64 { return p.UserID })
	// PreferencesUpdated says that a user's preferences changed.
	PreferencesUpdated = ofUser("preferences.updated", schema.Low,
		func(p PreferencesUpdatedPayload) int64 { return p.UserID })
)

// UserRegisteredPayload is the payload of [UserRegistered].
type UserRegisteredPayload struct {
	UserID int64    `json:"user_id"`
	Email  string   `json:"email"`
	Name   string   `json:"name"`
	Status string   `json:"status"` // such as "pending_verification"
	Roles  []string `json:"roles"`
}

// NewUserRegistered makes a "user.registered" event.
func NewUserRegistered(p UserRegisteredPayload) schema.Event { return UserRegistered.New(p) }

// UserUpdatedPayload is the payload of [UserUpdated].
type UserUpdatedPayload struct {
	UserID        int64    `json:"user_id"`
	UpdatedFields []string `json:"updated_fields"` // the names of what changed, never the values
}

// NewUserUpdated makes a "user.updated" event, whose actor is the user actorID.
func NewUserUpdated(p UserUpdatedPayload, actorID int64) schema.Event {
	return by(actorID, UserUpdated.New(p))
}

// UserActivatedPayload is the payload of [UserActivated].
type UserActivatedPayload struct {
	UserID int64 `json:"user_id"`
}

// NewUserActivated makes a "user.activated" event, whose actor is the user activatedBy.
func NewUserActivated(p UserActivatedPayload, activatedBy int64) schema.Event {
	return by(activatedBy, UserActivated.New(p))
}

// UserDeactivatedPayload is the payload of [UserDeactivated].
type UserDeactivatedPayload struct {
	UserID int64  `json:"user_id"`
	Reason string `json:"reason"` // in a few words, for people
}

// NewUserDeactivated makes a "user.deactivated" event, whose actor is the user deactivatedBy.
func NewUserDeactivated(p UserDeactivatedPayload, deactivatedBy int64) schema.Event {
	return by(deactivatedBy, UserDeactivated.New(p))
}

// UserDeletedPayload is the payload of [UserDeleted].
type UserDeletedPayload struct {
	UserID int64  `json:"user_id"`
	Reason string `json:"reason"` // in a few words, for people
}

// NewUserDeleted makes a "user.deleted" event, whose actor is the user deletedBy.
func NewUserDeleted(p UserDeletedPayload, deletedBy int64) schema.Event {
	return by(deletedBy, UserDeleted.New(p))
}

// PreferencesUpdatedPayload is the payload of [PreferencesUpdated].
type PreferencesUpdatedPayload struct {
	UserID        int64    `json:"user_id"`
	UpdatedFields []string `json:"updated_fields"` // the names of what changed, never the values
}

// NewPreferencesUpdated makes a "preferences.updated" event, whose actor is the user actorID.
func NewPreferencesUpdated(p PreferencesUpdatedPayload, actorID int64) schema.Event {
	return by(actorID, PreferencesUpdated.New(p))
}
