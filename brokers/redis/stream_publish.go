package redis

import (
	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// newAdd returns an XADD.
func (c *stream) newAdd(p *publication) *command {
	cmd := &command{body: body{p: p}, empty: emptyAdd}
	if c.set.stream.format != nil {
		cmd.Cmder = goredis.NewStringCmd(noContext)
		cmd.fill = c.fillForeign
		return cmd
	}
	cmd.Cmder = goredis.NewStringCmd(noContext, "xadd", &cmd.key, "*", fieldMeta, &cmd.meta, fieldBody, &cmd.body)
	prefix := c.set.stream.prefix + "{"
	var lastChannel string
	cmd.fill = func(cmd *command, m *brokers.Message) {
		if m.Channel != lastChannel {
			lastChannel, cmd.key = m.Channel, prefix+m.Channel+"}"
		}
		cmd.meta.text = appendMeta(cmd.meta.text[:0], m)
		cmd.body.data = m.Body
	}
	return cmd
}

func emptyAdd(cmd *command) { cmd.body.data = nil }

// fillForeign makes an XADD with the fields of another format. The last value is what divides sent from not sent.
func (c *stream) fillForeign(cmd *command, m *brokers.Message) {
	fields, err := c.set.stream.format.Fields(m)
	if err != nil || len(fields) == 0 {
		fields = []Field{{fieldBody, ""}} // unfit has looked: this does not happen
	}
	args := []any{"xadd", c.set.stream.streamKey(m.Channel), "*"}
	for _, f := range fields[:len(fields)-1] {
		args = append(args, f.Name, f.Value)
	}
	last := fields[len(fields)-1]
	cmd.body.data = []byte(last.Value)
	cmd.Cmder = goredis.NewStringCmd(noContext, append(args, last.Name, &cmd.body)...)
}
