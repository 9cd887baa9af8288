package testbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
)

// ErrNoServer says that the server's program is not installed.
var ErrNoServer = errors.New("not installed")

// RedisOptions say how a redis-server is started. The zero value is one without persistence, password and TLS.
type RedisOptions struct {
	// Args are further arguments of redis-server, such as "--maxmemory", "10mb".
	Args []string
	// Password is what clients have to give; empty means none.
	Password string
	// TLS opens a second port with a certificate of its own CA: see Redis.TLS.
	TLS bool
	// Clock has the server's clock moved by SetClock, which takes libfaketime.
	Clock bool
	// InProcess starts a miniredis in this process, which can be neither frozen nor have Args and TLS.
	InProcess bool
	// Name is what the record calls it; StartRedis takes the test's name.
	Name string
}

// A Redis is a running server. Its methods are safe for concurrent use.
type Redis struct {
	opts    RedisOptions
	dir     string
	port    int
	tlsPort int
	tls     *TLSFiles
	version string

	mu   sync.Mutex
	proc *process
	mini *miniredis.Miniredis
	raw  *goredis.Client
}

// readyTimeout is how long a server may take to answer. redis-server takes some 10 ms on an idle machine.
const readyTimeout = time.Minute

// Start starts a redis-server and waits until it answers. It returns ErrNoServer where none is installed, and
// ErrNoFakeTime where its clock cannot be moved. Stop stops it.
func Start(ctx context.Context, opts RedisOptions) (*Redis, error) {
	r := &Redis{opts: opts}
	if opts.InProcess {
		return r, r.startMini()
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("testbroker: redis-server: %w", ErrNoServer)
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "eventbus-redis-"); err != nil {
		return nil, err
	}
	if opts.TLS {
		if r.tls, err = newTLSFiles(r.dir); err != nil {
			return nil, errors.Join(err, r.Stop())
		}
	}
	// Between choosing a port and the server's listening on it, somebody else may take it: another port then.
	for range 3 {
		if err = r.choosePorts(); err == nil {
			if err = r.launch(ctx); err == nil {
				break
			}
		}
	}
	if err == nil {
		err = r.identify(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, record("redis", kindReal, r.version, opts.Name)
}

func (r *Redis) startMini() error {
	r.mini = miniredis.NewMiniRedis()
	if r.opts.Password != "" {
		r.mini.RequireAuth(r.opts.Password)
	}
	if err := r.mini.Start(); err != nil {
		return err
	}
	r.port, _ = strconv.Atoi(r.mini.Port())
	r.version = "miniredis"
	return record("redis", kindInProcess, r.version, r.opts.Name)
}

func (r *Redis) choosePorts() (err error) {
	if r.port, err = freePort(); err != nil {
		return err
	}
	if r.opts.TLS {
		r.tlsPort, err = freePort()
	}
	return err
}

// launch starts the process on the chosen ports and waits until it answers.
func (r *Redis) launch(ctx context.Context) error {
	logFile := filepath.Join(r.dir, "redis.log")
	args := []string{
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", r.dir, "--logfile", logFile, "--daemonize", "no",
	}
	if r.opts.Password != "" {
		args = append(args, "--requirepass", r.opts.Password)
	}
	if r.tls != nil {
		args = append(args, "--tls-port", strconv.Itoa(r.tlsPort), "--tls-cert-file", r.tls.ServerCert,
			"--tls-key-file", r.tls.ServerKey, "--tls-ca-cert-file", r.tls.CA, "--tls-auth-clients", "optional")
	}
	cmd := exec.Command("redis-server", append(args, r.opts.Args...)...)
	if r.opts.Clock {
		if err := r.fakeTime(cmd); err != nil {
			return err
		}
	}
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("testbroker: redis-server: %w", err)
	}
	if err := r.awaitReady(ctx, proc); err != nil {
		proc.kill()
		tail, _ := os.ReadFile(logFile)
		return fmt.Errorf("testbroker: redis-server does not answer: %w\n%s", err, tail)
	}
	r.proc = proc
	return nil
}

// awaitReady returns once the server answers PING with anything but LOADING.
func (r *Redis) awaitReady(ctx context.Context, proc *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(ctx, r.Addr())
		if err == nil {
			return nil
		}
		select {
		case <-proc.exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// answers sends an inline PING over a connection of its own: a client would log each refused connection.
func answers(ctx context.Context, addr string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	reply := make([]byte, 64)
	n, err := c.Read(reply)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(reply[:n]), "-LOADING") {
		return errors.New("loading")
	}
	return nil
}

func (r *Redis) identify(ctx context.Context) error {
	info, err := r.Client().Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			r.version = strings.TrimSpace(v)
		}
	}
	return nil
}

// Stop ends the server for good and removes its files. A second Stop does nothing.
func (r *Redis) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raw != nil {
		_ = r.raw.Close()
		r.raw = nil
	}
	if r.mini != nil {
		r.mini.Close()
	}
	if r.proc != nil {
		r.proc.kill()
		r.proc = nil
	}
	if r.dir == "" {
		return nil
	}
	return os.RemoveAll(r.dir)
}

// Real reports whether it is a redis-server of its own process, which can be frozen.
func (r *Redis) Real() bool { return r.mini == nil }

// Addr is host:port of the port without TLS.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// URL is the broker URL of Addr, with the password if there is one.
func (r *Redis) URL() string { return "redis://" + r.userinfo() + r.Addr() }

// PatientURL is URL for a test that is not about timeouts: on a busy machine a server may not answer for a second, after which what
// was published is taken for lost.
func (r *Redis) PatientURL() string { return r.URL() + "?read_timeout=60s&write_timeout=60s" }

// TLS returns the certificates that the server and its clients use; nil without RedisOptions.TLS.
func (r *Redis) TLS() *TLSFiles { return r.tls }

// TLSAddr is host:port of the port with TLS. The certificate is for 127.0.0.1 and localhost.
func (r *Redis) TLSAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.tlsPort)) }

// TLSURL is the broker URL of TLSAddr, without a word about certificates.
func (r *Redis) TLSURL() string { return "rediss://" + r.userinfo() + r.TLSAddr() }

func (r *Redis) userinfo() string {
	if r.opts.Password == "" {
		return ""
	}
	return ":" + r.opts.Password + "@"
}

// Version is the server's own version, such as 7.0.15, or "miniredis".
func (r *Redis) Version() string { return r.version }

// Pid is the process id of the server; 0 for one in this process and for one that does not run.
func (r *Redis) Pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return 0
	}
	return r.proc.pid()
}

// Kill ends the server as a crash would (SIGKILL) and returns once it is gone. Restart brings it back.
func (r *Redis) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mini != nil:
		r.mini.Close()
	case r.proc == nil:
		return errors.New("testbroker: redis-server does not run")
	default:
		r.proc.kill()
		r.proc = nil
	}
	return nil
}

// Restart starts the server again on the port that it had, after ending it if it runs, and waits until it answers.
func (r *Redis) Restart(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mini != nil {
		r.mini.Close()
		return r.mini.Restart()
	}
	if r.proc != nil {
		r.proc.kill()
		r.proc = nil
	}
	return r.launch(ctx)
}

// Freeze stops the server's process without ending it (SIGSTOP): connections stay open and nothing is answered.
func (r *Redis) Freeze() error { return r.signal(sigFreeze) }

// Thaw lets a frozen server go on (SIGCONT): it executes what it was sent meanwhile.
func (r *Redis) Thaw() error { return r.signal(sigThaw) }

func (r *Redis) signal(sig os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return errors.New("testbroker: there is no process to signal")
	}
	return r.proc.signal(sig)
}

// Client is a client of its own for raw access, closed by Stop.
func (r *Redis) Client() *goredis.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raw == nil {
		r.raw = goredis.NewClient(&goredis.Options{
			Addr: r.Addr(), Password: r.opts.Password, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
			DialTimeout: readyTimeout, ReadTimeout: readyTimeout, WriteTimeout: readyTimeout, // a busy machine takes its time
		})
	}
	return r.raw
}

// Do sends one raw command, such as Do(ctx, "PUBLISH", "a.b", "body"), and returns its reply.
func (r *Redis) Do(ctx context.Context, args ...any) (any, error) {
	return r.Client().Do(ctx, args...).Result()
}
