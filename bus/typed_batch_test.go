package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// What cannot be decoded fails for good and is not handed over; everything else has the outcome that the handler gave to it.
func TestABatchIsDecodedEventByEvent(t *testing.T) {
	registered := func(id int64) schema.Event {
		return userservice.NewUserRegistered(userservice.UserRegisteredPayload{UserID: id})
	}
	bad := registered(2)
	bad.Data = []byte(`{"user_id":"two"}`)
	other := event("a.b", "user:9")
	busy := errors.New("busy")
	for _, tt := range []struct {
		name    string
		events  []schema.Event
		returns []error
		given   []int64 // to the handler; nil where it is not called
		want    func(errs []error) bool
	}{
		{"each has its own", []schema.Event{registered(1), bad, other, registered(3)}, []error{nil, busy}, []int64{1, 3},
			func(e []error) bool { return e[0] == nil && isPermanent(e[1]) && isPermanent(e[2]) && e[3] == busy }},
		{"nil is success", []schema.Event{bad, registered(1)}, nil, []int64{1},
			func(e []error) bool { return isPermanent(e[0]) && e[1] == nil }},
		{"too few are an error of each that was given", []schema.Event{registered(1), bad, registered(3)}, []error{nil}, []int64{1, 3},
			func(e []error) bool { return e[0] != nil && !isPermanent(e[0]) && isPermanent(e[1]) && e[2] != nil }},
		{"nothing to hand over", []schema.Event{bad, other}, nil, nil,
			func(e []error) bool { return isPermanent(e[0]) && isPermanent(e[1]) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var given []int64
			h := bus.OnBatch(userservice.UserRegistered,
				func(_ context.Context, batch []bus.Decoded[userservice.UserRegisteredPayload]) []error {
					for _, d := range batch {
						given = append(given, d.Payload.UserID)
						if d.Type != "user.registered" {
							t.Errorf("the event is %+v", d.Event)
						}
					}
					return tt.returns
				})
			errs := h(t.Context(), tt.events)
			if fmt.Sprint(given) != fmt.Sprint(tt.given) || len(errs) != len(tt.events) || !tt.want(errs) {
				t.Errorf("given %v, returned %v", given, errs)
			}
		})
	}
}

func isPermanent(err error) bool { return errors.As(err, new(*router.PermanentError)) }

// ExampleOnBatch inserts many rows at once, with the payloads decoded.
func ExampleOnBatch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	inserted := make(chan []string, 1)
	insert := func(_ context.Context, batch []bus.Decoded[userservice.UserRegisteredPayload]) []error {
		var rows []string
		for _, d := range batch {
			rows = append(rows, d.Subject+" "+d.Payload.Email)
		}
		inserted <- rows
		return nil // all of them are written
	}
	_, err = b.Subscribe(bus.Subscription{
		Name: "directory", Events: []string{userservice.UserRegistered.Name()},
		Batch:        bus.BatchConfig{MaxEvents: 2, MaxWait: time.Minute},
		BatchHandler: bus.OnBatch(userservice.UserRegistered, insert),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for id, email := range []string{"ada@example.org", "grace@example.org"} {
		e := userservice.NewUserRegistered(userservice.UserRegisteredPayload{UserID: int64(id), Email: email})
		if err := b.Emit(ctx, e); err != nil {
			fmt.Println(err)
		}
	}
	rows := <-inserted
	slices.Sort(rows) // they have different keys, so that they come in any order
	fmt.Println(strings.Join(rows, "\n"))
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// user:0 ada@example.org
	// user:1 grace@example.org
	// closed: <nil>
}
