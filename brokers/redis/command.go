package redis

import (
	"context"
	"errors"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// A command is one that carries a message. Its arguments are read through pointers when it is written, so that it can
// be used again.
type command struct {
	goredis.Cmder
	key  string
	meta meta // not of a PUBLISH
	body body

	fill  func(*command, *brokers.Message) // sets the arguments
	empty func(*command)                   // forgets them
}

// noContext is the context of a command itself, which go-redis reads for MONITOR only. A real one would be kept alive
// by the pool.
var noContext context.Context

// newPublish returns a PUBLISH.
func newPublish(p *publication) *command {
	cmd := &command{body: body{p: p}, fill: fillPublish, empty: emptyPublish}
	cmd.Cmder = goredis.NewIntCmd(noContext, "publish", &cmd.key, &cmd.body)
	return cmd
}

func fillPublish(c *command, m *brokers.Message) { c.key, c.body.data = m.Channel, m.Body }
func emptyPublish(c *command)                    { c.key, c.body.data = "", nil }

// NoRetry keeps a client that we were given from sending a pipeline again whose replies were lost.
func (c *command) NoRetry() bool { return true }

// A body is written by go-redis as what MarshalBinary returns, at the moment when it is written. That moment divides
// what was certainly not sent from what may have been.
type body struct {
	p     *publication
	data  []byte
	index uint64
}

func (b *body) MarshalBinary() ([]byte, error) {
	if !b.p.admit(b.index) {
		return nil, errAbandoned
	}
	return b.data, nil
}

// errAbandoned keeps a command from being written whose Publish has given up.
var errAbandoned = errors.New("abandoned by its caller")
