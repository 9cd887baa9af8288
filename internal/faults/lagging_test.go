package faults

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A lagging relay passes on what the server sends with a delay, as full buffers of a slow network do, until it is cut:
// what was on its way then is lost.
type laggingRelay struct {
	listener net.Listener
	server   string
	lag      time.Duration

	mu    sync.Mutex
	conns []net.Conn
}

func newLaggingRelay(t *testing.T, server string, lag time.Duration) *laggingRelay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &laggingRelay{listener: l, server: server, lag: lag}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
		serving.Wait()
	})
	return r
}

func (r *laggingRelay) url() string { return "redis://" + r.listener.Addr().String() }

// cut ends all connections at once.
func (r *laggingRelay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *laggingRelay) serve(client net.Conn) {
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	type piece struct {
		data []byte
		due  time.Time
	}
	onTheWay := make(chan piece, 1<<16)
	var both sync.WaitGroup
	both.Go(func() {
		for p := range onTheWay {
			time.Sleep(time.Until(p.due))
			_, _ = client.Write(p.data) // after the cut nothing arrives
		}
	})
	both.Go(func() {
		defer close(onTheWay)
		for {
			buf := make([]byte, 16<<10)
			n, err := server.Read(buf)
			if n > 0 {
				onTheWay <- piece{buf[:n], time.Now().Add(r.lag)}
			}
			if err != nil {
				return
			}
		}
	})
	buf := make([]byte, 4<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			_, _ = server.Write(buf[:n])
		}
		if err != nil {
			_ = client.Close()
			_ = server.Close()
			break
		}
	}
	both.Wait()
}

// Suppose a subscriber is handed events a second after they were published, since it or its network is slow, and the
// connection ends: events of that second are lost although events came in up to the end. The gap begins before them.
func TestAGapReachesBackToWhatWasStillOnItsWay(t *testing.T) {
	const events, rate, lag = 160_000, 2_000, 800 * time.Millisecond
	redis := testbroker.RealRedis(t)
	relay := newLaggingRelay(t, redis.Addr(), lag)
	subscriber := newWorld(t, connect(t, relay.url()+"?ping_interval=1s&read_timeout=5s"), bus.Config{}, bus.Hooks{})
	y := newTally("all", events, "user_service.events.all")
	subscriber.count(y)
	ready := subscriber.run()
	books := newWitness(t, redis.URL(), events)
	publisher := newWorld(t, books, bus.Config{}, bus.Hooks{})
	m := startEmitter(t.Context(), publisher.Bus, events, rate, 1)
	m.reaches(t, 4*rate)
	relay.cut()
	cut := time.Now()
	eventually(t, patience, "the gap is reported", func() bool { return len(y.gapList()) > 0 })
	y.resumes(t, time.Now(), patience)
	m.stop()
	publisher.quiet()
	l := y.everythingAccounted(t, books, ready, patience)
	subscriber.shut()
	publisher.shut()
	g := y.gapList()[0]
	if l.inGaps == 0 || cut.Sub(g.Since) < lag {
		t.Errorf("the gap begins %v before the connection was cut, with events on their way for %v: "+
			"%+v", cut.Sub(g.Since), lag, l)
	}
	figure(t, "subscriber that lags behind by "+lag.String(), "cut off: the gap begins %v before, %d events fell "+
		"into it, %d lost silently",
		ms(cut.Sub(g.Since)), l.inGaps, l.silent)
}
