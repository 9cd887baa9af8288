package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// The channels that the default rules send role.assigned to. Nobody subscribes to them where publishing is measured:
// what Redis spends on subscribers is the same for every client.
var threeChannels = []string{"user_service.events.authz", "user_service.events.security", "user_service.events.all"}

// oneChannel is where everything goes in rows that say so.
const oneChannel = "bench.events"

// users is how many different users, so keys, the events are about.
const users = 1024

// roles makes the envelope of an event 392 bytes long at most, which is the usual size.
var roles = []string{
	"user", "auditor", "support_agent", "billing_manager", "report_reader", "team_administrator", "admin",
}

// newEvent is what a service writes to make an event.
func newEvent(user int) schema.Event {
	return userservice.NewRoleAssigned(userservice.RoleAssignedPayload{
		UserID: int64(user), RoleName: "team_administrator", CurrentRoles: roles,
	}, 1)
}

// What goes beside the body where a broker carries it: the type, the priority, the time in nanoseconds, which is a text of this
// length, and the key.
const (
	eventType     = "role.assigned"
	eventPriority = 1
	eventNanos    = "1795356900123456000"
)

func keyOf(user int) string { return fmt.Sprintf("user:%d", user) }

// bodies are the envelopes of one event for each user, encoded by us: every side sends the same bytes.
func bodies() ([][]byte, error) {
	var all [][]byte
	for user := range users {
		e := newEvent(user)
		e.ID, e.Time = schema.NewID(), time.Date(2026, 11, 23, 14, 15, 0, 123456000, time.UTC)
		body, err := schema.Encode(e)
		if err != nil {
			return nil, err
		}
		all = append(all, body)
	}
	return all, nil
}

// An envelope is the struct that one writes for encoding/json where data is left as bytes. Metadata is left as bytes
// too, although a map is what most would write: it is the quicker one.
type envelope struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"event_type"`
	Time     time.Time       `json:"timestamp"`
	Source   string          `json:"source"`
	Priority string          `json:"priority"`
	Subject  *string         `json:"subject"`
	Actor    *string         `json:"actor"`
	Resource *string         `json:"resource"`
	Data     json.RawMessage `json:"data"`
	Metadata json.RawMessage `json:"metadata"`
}

// A roleAssigned is the struct where the type is known before: the payload is decoded in the same pass, which is
// quicker than decoding the envelope first, as a subscriber to several types has to.
type roleAssigned struct {
	ID       string                          `json:"event_id"`
	Type     string                          `json:"event_type"`
	Time     time.Time                       `json:"timestamp"`
	Source   string                          `json:"source"`
	Priority string                          `json:"priority"`
	Subject  *string                         `json:"subject"`
	Actor    *string                         `json:"actor"`
	Resource *string                         `json:"resource"`
	Data     userservice.RoleAssignedPayload `json:"data"`
	Metadata json.RawMessage                 `json:"metadata"`
}

// errLost says that events did not arrive.
func errLost(sent, handled int64) error {
	return fmt.Errorf("%d of %d events were not handled", sent-handled, sent)
}
