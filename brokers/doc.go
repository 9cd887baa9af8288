// Package brokers is the contract between the bus and those who carry its messages: read [Conn], then [Capabilities].
//
// A driver is a package that implements Conn for one kind of broker and calls [Register] with its URL schemes when it is
// imported. Drivers carry messages and nothing else: no retry, no policy, no wrapping of errors, no logging; the bus has
// those, once, for all of them. Package brokertest holds a driver to every promise of its Capabilities.
//
// Services do not use this package; they use package bus and import a driver for its side effect:
//
//	import _ "github.com/eventbus-go/eventbus/brokers/redis"
package brokers
