package bus

import (
	"testing"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestAPackerRemembersTheRouteOfOneKindOnly(t *testing.T) {
	r, err := router.New(router.Config{Rules: []router.Rule{
		{Match: []string{"user.*"}, Channels: []string{"users"}},
		{Match: []string{"order.*"}, Channels: []string{"orders"}},
		{Match: []string{"user.*"}, When: router.Condition{Sources: []string{"billing"}}, Channels: []string{"bills"}},
		{Match: []string{"user.*"}, When: router.Condition{Priorities: []schema.Priority{schema.High}}, Channels: []string{"urgent"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []schema.Event{
		{Type: "user.created", Source: "auth"},
		{Type: "user.created", Source: "billing"},
		{Type: "user.created", Source: "auth", Priority: schema.High},
		{Type: "order.created", Source: "auth"},
		{Type: "nobody.asked", Source: "auth"},
	}
	p := &packer{}
	for i := range kinds {
		for j := range kinds {
			for _, e := range []*schema.Event{&kinds[i], &kinds[j], &kinds[j]} {
				want, wantErr := r.Route(e.Type, e.Source, e.Priority)
				got, err := p.route(r, e)
				if got != want || (err == nil) != (wantErr == nil) {
					t.Errorf("%+v after another one: %v, %v, wants %v, %v", *e, got, err, want, wantErr)
				}
			}
		}
	}
}
