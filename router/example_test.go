package router_test

import (
	"fmt"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func ExampleNew() {
	r, err := router.New(router.Config{
		Prefix: "shop.events",
		Rules: []router.Rule{
			{Name: "orders", Match: []string{"order.*"}, Channels: []string{"orders"}},
			{Name: "all", Match: []string{">"}, Channels: []string{"all"}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := r.Route("order.placed", "shop", schema.Normal)
	fmt.Println(route.Channels, err)
	// Output: [shop.events.orders shop.events.all] <nil>
}

func ExampleRouter_Explain() {
	r, err := router.New(router.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Explain(schema.Event{Type: "mfa.disabled", Source: "user_service", Priority: schema.High}))
	// Output:
	// mfa.disabled from user_service, priority high
	//   - user             no match: user.*, preferences.*
	//   + auth             mfa.* -> user_service.events.auth
	//   - authz            no match: permission.*, role.*
	//   - trading_account  no match: trading_account.*, membership.*
	//   + security         mfa.disabled -> user_service.events.security
	//   + all              > -> user_service.events.all
	// goes to user_service.events.auth, user_service.events.security, user_service.events.all
}

func ExampleRouter_Narrowest() {
	r, err := router.New(router.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	roles, err := router.ParsePattern("role.*")
	if err != nil {
		fmt.Println(err)
		return
	}
	channel, err := r.Narrowest([]router.Pattern{roles})
	fmt.Println(channel, err)
	// Output: user_service.events.authz <nil>
}

func ExampleParseYAML() {
	_, err := router.ParseYAML([]byte(`
rules:
  - name: orders
    match: order.*
    channel: orders
`))
	fmt.Println(err)
	// Output:
	// line 5, column 5: the key "channel" is unknown; did you mean channels? known here: broker, channels, fallback, match, name, stop, when
	//     5 |     channel: orders
	//       |     ^
}
