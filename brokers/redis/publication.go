package redis

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// One pipeline has at most so many commands and, unless it is a single one, so many bytes of bodies. More commands gain
// nothing (measured: see BenchmarkPublish), and each pipeline has one read_timeout and one write_timeout. go-redis
// writes a whole pipeline before it reads the first reply; that cannot block both sides for ever, since the server
// keeps the replies, 4 bytes each, until they are read.
const (
	pipelineCommands = 512
	pipelineBytes    = 1 << 20
)

// A publication is one call of Publish. Its commands are used again by later calls, so that none is allocated per
// message.
type publication struct {
	client     *goredis.Client
	line       *line // of client; nil where it has many connections, and cannot be interrupted
	newCommand func(*publication) *command
	before     func(*publication) // what is sent ahead of the messages; nil where nothing is
	commands   []*command
	cmders     []goredis.Cmder // the same, as the client wants them
	done       chan error      // a panic, or nil

	ctx  context.Context
	msgs []brokers.Message
	// begun counts the messages whose writing may have begun; abandonedBit says that no further one may.
	begun atomic.Uint64

	mu      sync.Mutex
	settled int // messages of pipelines that are over
	failed  []brokers.MessageError
}

const abandonedBit = 1 << 63

func (p *publication) begin(ctx context.Context, msgs []brokers.Message) {
	p.ctx, p.msgs, p.settled, p.failed = ctx, msgs, 0, nil
	p.begun.Store(0)
}

// run sends all messages, unless a pipeline fails.
func (p *publication) run() {
	if p.before != nil && p.ctx.Err() == nil {
		p.before(p)
	}
	for from := 0; from < len(p.msgs); {
		to := pipelineEnd(p.msgs, from)
		err := p.ctx.Err()
		if err == nil {
			err = p.send(from, to)
			from = to
		}
		if err != nil {
			p.skip(from, err)
			return
		}
	}
}

// pipelineEnd returns where the pipeline ends that begins at from.
func pipelineEnd(msgs []brokers.Message, from int) int {
	end := min(len(msgs), from+pipelineCommands)
	size := len(msgs[from].Body)
	for i := from + 1; i < end; i++ {
		if size += len(msgs[i].Body); size > pipelineBytes {
			return i
		}
	}
	return end
}

// send sends the messages from..to as one pipeline and notes the outcome of each. It returns an error where the next
// pipeline had better not follow: a message of this one may have to be sent again, and what has the same key would
// overtake it.
func (p *publication) send(from, to int) error {
	if p.line != nil && p.line.exchange != nil {
		return p.exchange(from, to)
	}
	n := to - from
	p.prepare(n)
	for i, cmd := range p.commands[:n] {
		cmd.fill(cmd, &p.msgs[from+i])
		cmd.body.index = uint64(from + i)

	}
	pipe := p.client.Pipeline()
	_ = pipe.BatchProcess(p.ctx, p.cmders[:n]...) // it only queues
	_, err := pipe.Exec(p.ctx)
	err = p.outcomes(from, to, err)
	for _, cmd := range p.commands[:n] {
		cmd.empty(cmd) // what is in the pool must not hold on to messages
	}
	return err
}

// exchange is send where the line writes and reads itself.
func (p *publication) exchange(from, to int) (stop error) {
	x := p.line.exchange
	err := x.do(p.ctx, p.client, p.msgs[from:to])
	if err == nil && len(x.refused) == 0 {
		return nil
	}
	x.failures(to-from, err, func(i int, o brokers.Outcome, err error) {
		p.failed = append(p.failed, brokers.MessageError{Index: from + i, Outcome: o, Err: err})
		if stop == nil && o != brokers.Rejected {
			stop = err
		}
	})
	return stop
}

// prepare makes sure that there are n commands.
func (p *publication) prepare(n int) {
	for i := len(p.commands); i < n; i++ {
		cmd := p.newCommand(p)
		p.commands = append(p.commands, cmd)
		p.cmders = append(p.cmders, cmd)
	}
}

// outcomes notes what became of the messages of a pipeline that ended with failure, nil for none, and returns the first error
// that says that one was not taken but may be later. Whoever abandons the publication meanwhile finds all of that or nothing: in
// between, a message would be marked twice.
//
// A command without an error was taken, unless it was never written: go-redis gives the commands no error at all where
// it was an error reply that kept it from having a connection, such as the one to a wrong password.
func (p *publication) outcomes(from, to int, failure error) (stop error) {
	begun := int(p.begun.Load() &^ abandonedBit)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = to
	for i := from; i < to && failure != nil; i++ {
		cmd := p.commands[i-from]
		err := cmd.Err()
		cmd.SetErr(nil)
		if err == nil && i >= begun {
			err = failure
		}
		outcome := classify(err, i < begun)
		if outcome == brokers.Confirmed {
			continue
		}
		p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: outcome, Err: err})
		if stop == nil && outcome != brokers.Rejected {
			stop = err
		}
	}
	return stop
}

// blame says that the timeouts among the errors were an interruption, whose cause is that of the caller's context.
func (p *publication) blame(cause error) {
	if cause == nil {
		return
	}
	for i := range p.failed {
		var timeout net.Error
		if errors.As(p.failed[i].Err, &timeout) && timeout.Timeout() {
			p.failed[i].Err = cause
		}
	}
}

// skip marks the messages from from on as not sent.
func (p *publication) skip(from int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := from; i < len(p.msgs); i++ {
		p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: brokers.NotSent, Err: err})
	}
	p.settled = len(p.msgs)
}

// admit reports whether message i may be written, and notes that it may have been from now on.
func (p *publication) admit(i uint64) bool {
	for {
		n := p.begun.Load()
		if n&abandonedBit != 0 {
			return false
		}
		if p.begun.CompareAndSwap(n, max(n, i+1)) {
			return true
		}
	}
}

// abandon returns what is known of a publication whose client does not return. No message is written from now on that
// was not yet, so that NotSent is certain.
func (p *publication) abandon(err error) error {
	begun := int(p.begun.Or(abandonedBit) &^ abandonedBit)
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := append([]brokers.MessageError(nil), p.failed...)
	for i := p.settled; i < len(p.msgs); i++ {
		outcome := brokers.NotSent
		if i < begun {
			outcome = brokers.Unknown
		}
		failed = append(failed, brokers.MessageError{Index: i, Outcome: outcome, Err: err})
	}
	if len(failed) == 0 {
		return nil
	}
	return &brokers.BatchError{Failed: failed}
}
