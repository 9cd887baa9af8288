package redis

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// dialFunc is the type of go-redis's Options.Dialer.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// netDialer dials as opt and the settings say, and stops dialling when its context ends, which go-redis's own does
// not do with TLS. The files of certificates are read again for each connection.
func (s settings) netDialer(opt *goredis.Options) dialFunc {
	d := &net.Dialer{Timeout: opt.DialTimeout}
	var dial dialFunc = d.DialContext
	switch {
	case s.secure != nil:
		dial = s.secure.dialer(d)
	case opt.TLSConfig != nil:
		dial = (&tls.Dialer{NetDialer: d, Config: opt.TLSConfig}).DialContext
	}
	if s.hosts != nil {
		return s.hosts.dialer(dial)
	}
	return dial
}

// dialer returns the dialer of a client whose connections belong to c.
func (c *conn) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, release := c.dials.Bind(ctx)
		defer release()
		ctx, cancel := context.WithTimeout(ctx, c.set.dialTimeout)
		defer cancel()
		if s, ok := ctx.Value(sessionKey{}).(*session); ok {
			return s.dial(ctx, dial, network, addr)
		}
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return stillborn{&dialError{err}}, nil
		}
		return nc, nil
	}
}

// A stillborn connection fails with the error of its dialling when it is first used, which is at once, by the
// handshake.
//
// go-redis's pool must not see a dial fail. Suppose a broker is down: the pool writes a line to a log of its own for
// each attempt, and after as many failures as it has connections it answers without dialling, until a goroutine of its
// own, which nobody can stop and which looks once a second, has found the broker again.
type stillborn struct{ err error }

func (s stillborn) Read([]byte) (int, error)         { return 0, s.err }
func (s stillborn) Write([]byte) (int, error)        { return 0, s.err }
func (s stillborn) Close() error                     { return nil }
func (s stillborn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s stillborn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s stillborn) SetDeadline(time.Time) error      { return nil }
func (s stillborn) SetReadDeadline(time.Time) error  { return nil }
func (s stillborn) SetWriteDeadline(time.Time) error { return nil }

// A dialError is around the error of a dial because go-redis takes one layer off.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// greet is called for each new connection, before it is used. Suppose the server wants a password that it was not
// given, or has no room for another client: go-redis would go on after the handshake was answered with an error, and a
// batch would be written to a connection that takes nothing. One PING tells, so that the batch is NotSent.
func greet(ctx context.Context, cn *goredis.Conn) error {
	err := cn.Ping(ctx).Err()
	if hasPrefix(err, welcome) {
		return nil
	}
	return err
}

// welcome replies to a PING deny the PING alone: to a user who may publish and may not ping, and by a server that cannot write its
// disk. That one still carries what is published, and hands out what it has to those who need not settle it; what it denies
// beyond that is denied command by command.
var welcome = []string{"NOPERM", "MISCONF"}

// greetAfter is greet after the hook of a client that we were given, if it has one.
func greetAfter(hook func(context.Context, *goredis.Conn) error) func(context.Context, *goredis.Conn) error {
	if hook == nil {
		return greet
	}
	return func(ctx context.Context, cn *goredis.Conn) error {
		if err := hook(ctx, cn); err != nil {
			return err
		}
		return greet(ctx, cn)
	}
}
