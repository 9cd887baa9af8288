// Package schema says what an event is: the envelope and its wire format, priorities, metadata, and catalogues of
// event types.
//
// An [Event] is the envelope of the contract that subscribers in every language read. A service defines its own
// events in a [Catalogue], one [Type] each, and gets a typed constructor and a typed decoder for it:
//
//	type Placed struct {
//		OrderID int64 `json:"order_id"`
//	}
//
//	var Shop = schema.NewCatalogue("shop")
//
//	var OrderPlaced = schema.MustDefine(Shop, schema.Definition[Placed]{
//		Type: "order.placed", Priority: schema.High,
//		Subject: func(p Placed) string { return schema.Ref("order", p.OrderID) },
//	})
//
// The package does no I/O, and of this module it imports only the grammar of names. Use package bus to publish and handle
// events.
package schema
