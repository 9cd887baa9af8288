package testbroker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestARedisIsReadyWhenStartReturns(t *testing.T) {
	r := RealRedis(t)
	if got, err := r.Do(t.Context(), "PING"); err != nil || got != "PONG" {
		t.Fatalf("PING: %v, %v", got, err)
	}
	if r.Version() == "" || r.Pid() == 0 || !r.Real() {
		t.Fatalf("version %q, pid %d, real %v", r.Version(), r.Pid(), r.Real())
	}
}

func TestAKilledRedisComesBackOnItsPort(t *testing.T) {
	r := AnyRedis(t)
	addr := r.Addr()
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Fatal("it still listens after Kill")
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Addr() != addr {
		t.Fatalf("address %s became %s", addr, r.Addr())
	}
	if _, err := r.Do(t.Context(), "PING"); err != nil {
		t.Fatal(err)
	}
}

func TestAFrozenRedisDoesNotAnswerUntilItIsThawed(t *testing.T) {
	r := RealRedis(t)
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "PING\r\n")
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	line := make([]byte, 16)
	if _, err := c.Read(line); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a frozen server answered: %v", err)
	}
	if err := r.Thaw(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.Read(line); err != nil || string(line[:n]) != "+PONG\r\n" {
		t.Fatalf("%q, %v", line[:n], err)
	}
}

func TestAServerIsRecordedWithOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	t.Setenv(EnvRecord, file)
	r, err := Start(t.Context(), RedisOptions{InProcess: true, Name: "a\ttest"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	got, err := os.ReadFile(file)
	if want := "redis\tin-process\tminiredis\ta test\n"; err != nil || string(got) != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

// echo starts a server that sends back what it reads.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// say sends a word over c and returns the answer.
func say(c net.Conn, wait time.Duration) (string, error) {
	if _, err := c.Write([]byte("word")); err != nil {
		return "", err
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 4)
	_, err := io.ReadFull(c, b)
	return string(b), err
}

func dial(t *testing.T, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAProxyForwards(t *testing.T) {
	p := StartProxy(t, echo(t))
	if got, err := say(dial(t, p.Addr()), 5*time.Second); err != nil || got != "word" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestAHalfOpenConnectionStaysOpenAndSilentWhileNewOnesWork(t *testing.T) {
	p := StartProxy(t, echo(t))
	old := dial(t, p.Addr())
	if _, err := say(old, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.HalfOpen()
	if _, err := say(old, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("half-open: %v", err)
	}
	if got, err := say(dial(t, p.Addr()), 5*time.Second); err != nil || got != "word" {
		t.Fatalf("new one: %q, %v", got, err)
	}
}

func TestABlackHoleTakesNewConnectionsToo(t *testing.T) {
	p := StartProxy(t, echo(t))
	if err := p.SetMode(BlackHole); err != nil {
		t.Fatal(err)
	}
	if _, err := say(dial(t, p.Addr()), 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("black hole: %v", err)
	}
}

func TestAResetAndARefusalEndConnections(t *testing.T) {
	p := StartProxy(t, echo(t))
	for _, mode := range []Mode{Reset, Refuse} {
		c := dial(t, p.Addr())
		if _, err := say(c, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := p.SetMode(mode); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("mode %d: %v", mode, err)
		}
		again, err := net.Dial("tcp", p.Addr())
		if mode == Refuse && err == nil {
			t.Fatal("a refusing proxy took a connection")
		}
		if err == nil {
			again.Close()
		}
		if err := p.SetMode(Forward); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheClockOfARedisGoesOnFromWhereItIsSet(t *testing.T) {
	r := StartRedis(t, RedisOptions{Clock: true})
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		if err := r.SetClock(ahead); err != nil {
			t.Fatal(err)
		}
		var first time.Time
		for deadline := time.Now().Add(30 * time.Second); ; {
			before := time.Now()
			got, err := r.Client().Time(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			if off := got.Sub(before) - ahead; off < -time.Second || got.After(time.Now().Add(ahead+time.Second)) {
				t.Fatalf("%v ahead it is off by %v", ahead, off)
			}
			if first.IsZero() {
				first = got
			}
			if got.After(first) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it stands still")
			}
		}
	}
}
