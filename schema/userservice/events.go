// Package userservice is the catalogue of the user service's events: 28 types, a payload each, and a constructor each.
//
// Use a constructor to make an event: actors and metadata that the contract asks for are its parameters, so that they
// cannot be forgotten.
//
//	e := userservice.NewRoleAssigned(userservice.RoleAssignedPayload{
//		UserID: 456, RoleName: "admin", CurrentRoles: []string{"user", "admin"},
//	}, 1)
//
// Use a type's variable to read one: userservice.RoleAssigned.Decode(e), or bus.On(userservice.RoleAssigned, ...).
//
// The package does no I/O. Everything in it is safe for concurrent use.
package userservice

import (
	"unicode/utf8"

	"github.com/eventbus-go/eventbus/schema"
)

// Source is what the events of this catalogue name as their publisher.
const Source = "user_service"

// Events is the catalogue. Services define events of their own in a catalogue of their own.
var Events = schema.NewCatalogue(Source)

// ofUser defines a type whose subject is a user.
func ofUser[T any](name string, priority schema.Priority, user func(T) int64) *schema.Type[T] {
	return schema.MustDefine(Events, schema.Definition[T]{
		Type: name, Priority: priority,
		Subject: func(p T) string { return schema.Ref("user", user(p)) },
	})
}

// ofAccount defines a type whose subject is a user, and whose resource is a trading account.
func ofAccount[T any](name string, priority schema.Priority, ids func(T) (user, account int64)) *schema.Type[T] {
	return schema.MustDefine(Events, schema.Definition[T]{
		Type: name, Priority: priority,
		Subject: func(p T) string {
			user, _ := ids(p)
			return schema.Ref("user", user)
		},
		Resource: func(p T) string {
			_, account := ids(p)
			return schema.Ref("trading_account", account)
		},
	})
}

// by returns e with its actor set.
func by(actor int64, e schema.Event) schema.Event {
	e.Actor = schema.Ref("user", actor)
	return e
}

// How much of a string from outside goes into an event, in bytes: an address with a zone, the longest e-mail address
// (RFC 5321: 64 + "@" + 255), and more than any browser sends.
const (
	maxIP         = 64
	maxIdentifier = 320
	maxUserAgent  = 512
)

// setText sets a metadata key to a string from outside, unless it is empty.
func setText(e *schema.Event, key, text string, most int) {
	if text == "" {
		return
	}
	// A string has always a place in JSON: Set replaces what is not UTF-8.
	_ = e.Metadata.Set(key, clip(text, most))
}

// clip cuts s after at most n bytes, between two characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
