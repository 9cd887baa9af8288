package rabbitmq

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// errSessionOver is why a session ended where nobody says.
var errSessionOver = errors.New("the connection to RabbitMQ is gone")

// errLoginCut is why there is no session where the server went away while it was asked for one.
var errLoginCut = errors.New("the server ended the connection during the login")

// A server that refuses a password says nothing to this client: it closes the connection after three seconds. The client takes
// every end of a connection during the login for that; one that dies ends it sooner.
const (
	loginTimeout = 4 * time.Second
	silence      = 2 * time.Second
)

// closing is how long a session waits for the server to agree to its end.
const closing = 250 * time.Millisecond

// A session is the life of one connection to a server, from its handshake to its first error.
//
// The client's own recovery is off: it would bring consumers back without a word, and resend nothing, so that neither a gap
// nor an outcome could be told.
type session struct {
	conn *amqp.Connection
	wire *wire
	pipe *pipe // of a connection that publishes
	over chan struct{}
	err  error // why; valid once over is closed

	mu        sync.Mutex
	blocked   error                // why the server takes no messages at the moment
	unblocked chan struct{}        // closed once it does
	waits     map[string]time.Time // queues in which messages wait, and since when they can be relied upon
}

// newSession connects to one of the servers, beginning with any, and returns once it has let us in.
func newSession(ctx context.Context, set settings) (*session, error) {
	config, secure, err := set.config()
	if err != nil {
		return nil, err
	}
	first := rand.IntN(len(set.hosts))
	for i := range set.hosts {
		var s *session
		var failed error
		if s, failed = openSession(ctx, set, set.hosts[(first+i)%len(set.hosts)], config, secure); failed == nil {
			return s, nil
		}
		if err == nil || refused(failed) { // the server that answered has more to say than the one that did not
			err = failed
		}
	}
	return nil, err
}

func openSession(ctx context.Context, set settings, host string, config amqp.Config, secure *tls.Config) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, set.dialTimeout+loginTimeout)
	defer cancel()
	raw, err := (&net.Dialer{Timeout: set.dialTimeout}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if secure != nil {
		secure = secure.Clone()
		secure.ServerName, _, _ = net.SplitHostPort(host)
		c := tls.Client(raw, secure)
		if err := c.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		raw = c
	}
	w := &wire{Conn: raw, timeout: set.writeTimeout}
	w.heard()
	began := time.Now()
	conn, err := amqp.Open(w, config)
	if err != nil {
		w.abort()
		if err == amqp.ErrCredentials && time.Since(began) < silence {
			err = errLoginCut
		}
		return nil, cmp.Or(ctx.Err(), explained(err))
	}
	s := &session{conn: conn, wire: w, over: make(chan struct{}), unblocked: make(chan struct{}), waits: make(map[string]time.Time)}
	close(s.unblocked)
	go s.watch(conn.NotifyClose(make(chan *amqp.Error, 1)), conn.NotifyBlocked(make(chan amqp.Blocking, 8)))
	return s, nil
}

// watch ends with the connection.
func (s *session) watch(closed <-chan *amqp.Error, blocked <-chan amqp.Blocking) {
	for {
		select {
		case err := <-closed:
			s.err = errSessionOver
			if err != nil {
				s.err = err
			}
			close(s.over)
			return
		case b, ok := <-blocked:
			if !ok {
				blocked = nil
				continue
			}
			s.setBlocked(b)
		}
	}
}

func (s *session) setBlocked(b amqp.Blocking) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.Active && s.blocked == nil:
		s.blocked, s.unblocked = blockedError{b.Reason}, make(chan struct{})
	case !b.Active && s.blocked != nil:
		s.blocked = nil
		close(s.unblocked)
	}
}

// open waits until the server takes messages.
func (s *session) open(ctx context.Context) error {
	s.mu.Lock()
	blocked, unblocked := s.blocked, s.unblocked
	s.mu.Unlock()
	if blocked == nil {
		return nil
	}
	select {
	case <-unblocked:
		return nil
	case <-s.over:
		return s.err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), blocked)
	}
}

// Over is closed once the session has ended.
func (s *session) Over() <-chan struct{} { return s.over }

// Close ends the session: with a word to the server if it answers soon.
func (s *session) Close() {
	t := time.AfterFunc(closing, s.wire.abort)
	defer t.Stop()
	_ = s.conn.CloseDeadline(time.Now().Add(closing)) // the connection is over, whatever it returns
	s.wire.abort()
	<-s.over
}

// do opens a channel, calls f with it and closes it. An error of f that the server sent has closed the channel already.
func (s *session) do(f func(ch *amqp.Channel) error) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	if err := f(ch); err != nil {
		_ = ch.Close()
		return err
	}
	return ch.Close()
}
