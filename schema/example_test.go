package schema_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/schema"
)

// Placed is what happened to an order.
type Placed struct {
	OrderID int64    `json:"order_id"`
	Items   []string `json:"items"`
}

// Shop is the catalogue of the service "shop".
var Shop = schema.NewCatalogue("shop")

// OrderPlaced is an event type.
var OrderPlaced = schema.MustDefine(Shop, schema.Definition[Placed]{
	Type: "order.placed", Priority: schema.High,
	Subject: func(p Placed) string { return schema.Ref("order", p.OrderID) },
})

func ExampleDefine() {
	e := OrderPlaced.New(Placed{OrderID: 42, Items: []string{"tea"}})
	fmt.Println(e.Type, e.Priority, e.Source, e.Subject)
	fmt.Println(string(e.Data))

	type Login struct {
		SessionToken string `json:"session_token"`
	}
	_, err := schema.Define(Shop, schema.Definition[Login]{Type: "login.success"})
	fmt.Println(err)
	// Output:
	// order.placed high shop order:42
	// {"order_id":42,"items":["tea"]}
	// schema: type "login.success": the payload schema_test.Login has the field SessionToken, whose name "session_token" stands for a token: secrets do not belong in events, leave it out
}

func ExampleEncode() {
	e := OrderPlaced.New(Placed{OrderID: 42})
	e.ID = "0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70" // the bus would fill in both
	e.Time = time.Date(2025, 11, 3, 15, 15, 0, 0, time.FixedZone("CET", 3600))
	b, err := schema.Encode(e)
	fmt.Println(string(b), err)
	// Output:
	// {"event_id":"0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70","event_type":"order.placed","timestamp":"2025-11-03T14:15:00Z","source":"shop","priority":"high","subject":"order:42","actor":null,"resource":null,"data":{"order_id":42,"items":[]},"metadata":{}} <nil>
}

func ExampleDecode() {
	body := []byte(`{"event_id":"1","event_type":"order.placed","timestamp":"2025-11-03T14:15:00Z",` +
		`"source":"shop","priority":"high","subject":"order:42","actor":null,"resource":null,` +
		`"data":{"order_id":42,"items":["tea"]},"metadata":{}}`)
	e, err := schema.Decode(body, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := OrderPlaced.Decode(e)
	fmt.Println(p.OrderID, p.Items, err)

	_, err = schema.Decode([]byte(`{"event_id":"1","event_id":"2"}`), 0)
	var refused *schema.DecodeError
	if errors.As(err, &refused) {
		fmt.Println(refused.Reason, refused.Offset)
	}
	fmt.Println(err)
	// Output:
	// 42 [tea] <nil>
	// duplicate_key 16
	// schema: duplicate_key at byte 16: "event_id" is there twice
}

func ExampleMetadata() {
	var m schema.Metadata
	if err := m.Set("ip", "203.0.113.7"); err != nil {
		fmt.Println(err)
	}
	copied := m
	if err := copied.Set("attempt", 3); err != nil {
		fmt.Println(err)
	}
	for key := range copied.Keys() {
		value, _ := copied.Get(key)
		fmt.Println(key, string(value))
	}
	fmt.Println(m.Len(), m.Text("ip"))
	// Output:
	// ip "203.0.113.7"
	// attempt 3
	// 1 203.0.113.7
}

func ExampleForbidden() {
	f := schema.DefaultForbidden()
	for _, name := range []string{"reset_token", "apiKey", "X-Api-Key", "tokenised", "user_id"} {
		entry, found := f.Find(name)
		fmt.Printf("%s %v %q\n", name, found, entry)
	}
	// Output:
	// reset_token true "token"
	// apiKey true "api_key"
	// X-Api-Key true "api_key"
	// tokenised false ""
	// user_id false ""
}

func ExampleEvent_Validate() {
	e := schema.Event{ID: "1", Type: "order.placed", Time: time.Now(), Source: "shop", Data: []byte(`{"card":{"cvv":123}}`)}
	fmt.Println(e.Validate(schema.DefaultForbidden()))
	// Output:
	// schema: event of type "order.placed": data has the key "cvv", which names a cvv: secrets do not belong in events, leave it out
}
