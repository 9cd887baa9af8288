package bus_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// takesAll is a broker that costs nothing.
type takesAll struct{ brokers.Conn }

func (takesAll) Publish(context.Context, []brokers.Message) error { return nil }

func openBench(b *testing.B, conn brokers.Conn) *bus.Bus {
	lanes := bus.LaneConfig{WhenFull: bus.Block, BlockFor: time.Minute}
	eb, err := bus.New(b.Context(), conn, bus.Config{Publish: bus.PublishConfig{LaneConfig: lanes}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { eb.Close(ended()) })
	return eb
}

// BenchmarkEmit is what the caller pays, with a broker that costs nothing: a typed event to three channels.
func BenchmarkEmit(b *testing.B) {
	eb := openBench(b, takesAll{memory.New()})
	roles := []string{"user", "admin"}
	b.ReportAllocs()
	for b.Loop() {
		p := userservice.RoleAssignedPayload{UserID: 456, RoleName: "admin", CurrentRoles: roles}
		if err := eb.Emit(b.Context(), userservice.NewRoleAssigned(p, 1)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEmitToHandler goes through the memory broker to a handler: what everything costs together.
func BenchmarkEmitToHandler(b *testing.B) {
	eb := openBench(b, memory.New())
	handled, all := 0, make(chan struct{})
	_, err := eb.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"user_service.events.all"}, Concurrency: 1,
		Handler: func(context.Context, schema.Event) error {
			if handled++; handled == b.N {
				close(all)
			}
			return nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	go eb.Run(b.Context())
	<-eb.Ready()
	data := json.RawMessage(`{"user_id":456,"role_name":"admin","current_roles":["user","admin"]}`)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := eb.Emit(b.Context(), schema.Event{Type: "x.y", Subject: "user:456", Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	<-all
}
