// Package all links every driver of this module, for a service whose broker is chosen by its configuration.
//
// Import it for its side effect; the scheme of the URL then decides:
//
//	import _ "github.com/eventbus-go/eventbus/brokers/all"
//
// A service that knows its broker imports that one driver instead, and does not link the others' client libraries.
package all

import (
	_ "github.com/eventbus-go/eventbus/brokers/kafka"    // kafka://
	_ "github.com/eventbus-go/eventbus/brokers/memory"   // memory://
	_ "github.com/eventbus-go/eventbus/brokers/nats"     // nats:// and nats+js://
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq" // amqp:// and amqps://
	_ "github.com/eventbus-go/eventbus/brokers/redis"    // redis://, rediss://, redis+stream:// and rediss+stream://

	_ "github.com/eventbus-go/eventbus/brokers/redis/watermill" // format=watermill of redis+stream://
)
