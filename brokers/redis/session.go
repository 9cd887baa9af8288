package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// Why a session ends by our own decision.
var (
	errSilent      = errors.New("the server sent nothing for two ping intervals")
	errSessionOver = errors.New("the connection of this session is gone")
)

// sessionKey is the key under which a session's context has the session itself.
type sessionKey struct{}

// A session is the life of one connection of a subscription, from dialling to the first error.
//
// go-redis's PubSub would outlive its connection: inside whichever call fails, it dials again and subscribes again,
// and messages between the two are missed without a word. So a session lets its PubSub dial once: whatever it does next
// fails, and the next session begins with one of its own, after which the gap is known.
//
// The PubSub dials, logs in and writes; what the server sends from the SUBSCRIBE on is read here.
type session struct {
	client   *goredis.Client
	plan     *plan
	name     string // for CLIENT SETNAME; empty means none
	interval time.Duration
	maxBytes int // see brokers.Subscription

	filter    filter
	listener  listener
	pubsub    *goredis.PubSub
	replies   pushReader
	dialed    atomic.Bool
	raw       atomic.Pointer[watchedConn]
	silent    atomic.Bool
	confirmed bool

	pings chan time.Time // when those were written whose replies have not been read yet
	// complete is a time before which everything was published that the server took before then was received: when the
	// channels were asked for, later when the last PING was written that was answered.
	complete time.Time
}

// A listener is told what a session hears, from the goroutine of the session's run.
type listener interface {
	ready()          // the server has confirmed all channels
	receive(message) // a message of the subscription
	idle()           // nothing more was received so far
}

// run subscribes and tells l what it hears, until ctx ends or the connection does. It returns why, never nil.
func (s *session) run(ctx context.Context, l listener) error {
	s.listener = l
	ctx, cancel := context.WithCancel(context.WithValue(ctx, sessionKey{}, s))
	defer cancel()
	s.pings = make(chan time.Time, 4)
	s.complete = time.Now()
	s.pubsub = s.client.Subscribe(ctx)
	defer func() { _ = s.pubsub.Close() }()
	defer context.AfterFunc(ctx, s.interrupt)()
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	var watch sync.WaitGroup
	var broken error // guarded by watch
	watch.Go(func() {
		if broken = brokers.Contain(func() error { s.watch(ctx); return nil }); broken != nil {
			cancel()
		}
	})
	defer watch.Wait()
	defer cancel()
	err := s.confirm()
	for err == nil {
		err = s.receive()
	}
	if s.silent.Load() {
		return errSilent
	}
	cancel()
	watch.Wait()
	return cmp.Or(broken, err)
}

// subscribe connects and asks for the name and the channels; the replies come later.
func (s *session) subscribe(ctx context.Context) error {
	if s.name != "" {
		if err := s.pubsub.ClientSetName(ctx, s.name); err != nil {
			return err
		}
	}
	if len(s.plan.literals) > 0 {
		if err := s.pubsub.Subscribe(ctx, s.plan.literals...); err != nil {
			return err
		}
	}
	if len(s.plan.globs) > 0 {
		if err := s.pubsub.PSubscribe(ctx, s.plan.globs...); err != nil {
			return err
		}
	}
	// The handshake left the deadline of its replies on the socket. watch has our own.
	w := s.raw.Load()
	s.replies = newPushReader(w, s.maxBytes)
	return w.SetReadDeadline(time.Time{})
}

// confirm reads until the last confirmation. What arrives before, on channels that are confirmed already, comes after
// ready.
func (s *session) confirm() error {
	var early []message
	named := s.name == ""
	for missing := s.plan.confirmations(); missing > 0; {
		p, err := s.replies.next()
		if err != nil && (named || !isReply(err)) {
			return err // the reply to SUBSCRIBE, or the connection
		}
		switch p.kind {
		case pushConfirmation:
			missing--
		case pushMessage:
			early = append(early, p.message)
			continue
		case pushStatus:
			if named {
				s.answered()
			}
		}
		named = true // the reply to CLIENT SETNAME came first, and a user who may not set it has no name
	}
	s.confirmed = true
	s.listener.ready()
	for i := range early {
		s.accept(&early[i])
	}
	return nil
}

// receive reads once. An error reply comes where the user may not PING: it is a sign of life like any other.
func (s *session) receive() error {
	p, err := s.replies.next()
	if err != nil {
		if isReply(err) {
			s.answered()
			return nil
		}
		return err
	}
	switch p.kind {
	case pushMessage:
		s.accept(&p.message)
	case pushStatus:
		s.answered()
	case pushConfirmation:
		return fmt.Errorf("%w: the client subscribed again", errSessionOver)
	}
	return nil
}

func (s *session) accept(m *message) {
	if s.filter.pass(m) {
		s.listener.receive(*m)
	}
}

// answered notes that the reply to a PING was read. Replies come in the order of the requests, and after every message
// that the server took before: nothing that was published before the PING was written can be missed any more.
func (s *session) answered() {
	select {
	case s.complete = <-s.pings:
	default:
	}
}

// watch asks for a sign of life once in an interval, and ends the connection after two intervals of silence. It asks
// under load too. Suppose a subscriber reads behind its server by four seconds, and the server is killed: what it had
// not sent yet was published up to four seconds before the last byte that was read, and only the answers tell how far
// back.
func (s *session) watch(ctx context.Context) {
	t := time.NewTimer(s.interval)
	defer t.Stop()
	asked := time.Now()
	q := quiet{interval: s.interval, due: asked.Add(s.interval)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		silence := q.since(s.lastByte(), time.Now())
		if silence >= 2*s.interval {
			s.silent.Store(true)
			s.interrupt()
			return
		}
		if time.Since(asked) >= s.interval {
			asked = time.Now()
			s.ask(ctx)
		}
		next := min(2*s.interval-silence, s.interval-time.Since(asked))
		q.due = time.Now().Add(next)
		t.Reset(next)
	}
}

// A quiet measures for how long a server has been silent.
//
// Suppose this process stands still for a while, because its virtual machine does or the processors have other things to do: when
// it goes on, what the server has sent meanwhile is there and has not been read. That time is nobody's silence.
type quiet struct {
	interval time.Duration
	due      time.Time // when since is to be called next
	awake    time.Time // when this process went on after it was late by much
}

// since returns for how long the server has been silent, of what this process was there to hear.
func (q *quiet) since(lastByte, now time.Time) time.Duration {
	if now.Sub(q.due) > q.interval/4 {
		q.awake = now
	}
	if lastByte.Before(q.awake) {
		lastByte = q.awake
	}
	return now.Sub(lastByte)
}

// ask writes a PING, unless too many have not been answered yet.
func (s *session) ask(ctx context.Context) {
	select {
	case s.pings <- time.Now():
		_ = s.pubsub.Ping(ctx) // if it cannot be written, no byte will come
	default:
	}
}

// dial is what the PubSub's dialling comes to: it succeeds at most once.
func (s *session) dial(ctx context.Context, dial dialFunc, network, addr string) (net.Conn, error) {
	if !s.dialed.CompareAndSwap(false, true) {
		return nil, errSessionOver
	}
	nc, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &watchedConn{Conn: nc, since: time.Now(), idle: s.listener.idle}
	s.raw.Store(w)
	if ctx.Err() != nil { // interrupt may have come before there was anything to close
		_ = nc.Close()
		return nil, ctx.Err()
	}
	return w, nil
}

// interrupt ends whatever waits for the connection.
func (s *session) interrupt() {
	if w := s.raw.Load(); w != nil {
		_ = w.Close()
	}
}

// lastByte is when the server last sent anything; zero before the connection was made.
func (s *session) lastByte() time.Time {
	w := s.raw.Load()
	if w == nil {
		return time.Time{}
	}
	return w.since.Add(time.Duration(w.last.Load()))
}

// A watchedConn knows when the last byte came, and tells when it is about to wait for the next one.
type watchedConn struct {
	net.Conn
	idle  func()
	since time.Time
	last  atomic.Int64 // nanoseconds after since
}

func (w *watchedConn) Read(b []byte) (int, error) {
	w.idle()
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.last.Store(int64(time.Since(w.since)))
	}
	return n, err
}

// stringOf returns b as a string without copying it. Nobody may modify b from then on.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
