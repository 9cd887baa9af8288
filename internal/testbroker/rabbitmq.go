package testbroker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// The users that a RabbitMQ with RabbitMQOptions.Users knows. RabbitUser may do everything; RabbitReader may read and write, and
// create nothing. Any RabbitMQ knows the user guest with the password guest.
const (
	RabbitUser     = "alice"
	RabbitReader   = "bob"
	RabbitPassword = "rabbit-s3cret"
)

// RabbitMQOptions say how a RabbitMQ is started. The zero value is a single node with a plaintext listener.
type RabbitMQOptions struct {
	// Users adds RabbitUser and RabbitReader.
	Users bool
	// TLS opens a listener with a certificate of its own CA, which wants one of the client too and lets its owner log in by
	// it (EXTERNAL): see RabbitMQ.TLS.
	TLS bool
	// Config are further lines of rabbitmq.conf.
	Config []string
	// Name is what the record calls it; StartRabbitMQ takes the test's name.
	Name string
}

// A RabbitMQ is a running broker. Its methods are safe for concurrent use.
type RabbitMQ struct {
	opts                      RabbitMQOptions
	program, dir              string
	port, tlsPort, dist, epmd int
	tls                       *TLSFiles
	version                   string

	mu     sync.Mutex
	proc   *process
	mapper *process // epmd, which Erlang would start as a daemon otherwise
}

// rabbitReadyTimeout is how long a RabbitMQ may take to listen. It takes some 6 s on two processors.
const rabbitReadyTimeout = 90 * time.Second

// rabbitProgram is where the packages of the distributions have the server. The one that they put into the PATH is a wrapper
// that runs as root or as the user rabbitmq only.
const rabbitProgram = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// StartRabbitMQServer starts a RabbitMQ and waits until it takes connections. It returns ErrNoServer where none is installed.
// Stop stops it.
func StartRabbitMQServer(ctx context.Context, opts RabbitMQOptions) (*RabbitMQ, error) {
	return withFreePorts(func() (*RabbitMQ, error) { return startRabbitMQ(ctx, opts) })
}

func startRabbitMQ(ctx context.Context, opts RabbitMQOptions) (*RabbitMQ, error) {
	r := &RabbitMQ{opts: opts}
	var err error
	if r.program, err = findRabbitMQ(); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "eventbus-rabbitmq-"); err != nil {
		return nil, err
	}
	if err = r.prepare(); err == nil {
		err = r.launch(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, record("rabbitmq", kindReal, r.version, opts.Name)
}

func findRabbitMQ() (string, error) {
	if _, err := exec.LookPath("epmd"); err != nil {
		return "", fmt.Errorf("testbroker: epmd: %w", ErrNoServer)
	}
	for _, name := range []string{rabbitProgram, "rabbitmq-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("testbroker: rabbitmq-server: %w", ErrNoServer)
}

// InstalledRabbitMQ reports whether a RabbitMQ can be started.
func InstalledRabbitMQ() bool {
	_, err := findRabbitMQ()
	return err == nil
}

// prepare chooses ports and writes the configuration.
func (r *RabbitMQ) prepare() error {
	for _, port := range []*int{&r.port, &r.tlsPort, &r.dist, &r.epmd} {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if r.opts.TLS {
		var err error
		if r.tls, err = newTLSFiles(r.dir); err != nil {
			return err
		}
	}
	return r.writeConfig()
}

func (r *RabbitMQ) path(name string) string { return filepath.Join(r.dir, name) }

// launch starts the process and waits until it takes connections.
func (r *RabbitMQ) launch(ctx context.Context) error {
	out, err := os.OpenFile(r.path("rabbitmq.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if r.mapper == nil {
		if r.mapper, err = startProcess(r.mapperCommand()); err != nil {
			return fmt.Errorf("testbroker: epmd: %w", err)
		}
	}
	cmd := r.command()
	cmd.Stdout, cmd.Stderr = out, out
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("testbroker: RabbitMQ: %w", err)
	}
	err = r.awaitReady(ctx, proc)
	text, _ := os.ReadFile(r.path("rabbitmq.log"))
	if err != nil {
		proc.kill()
		return fmt.Errorf("testbroker: RabbitMQ does not answer: %w\n%s", err, text)
	}
	if m := rabbitVersion.FindSubmatch(text); m != nil {
		r.version = string(m[1])
	}
	r.proc = proc
	return nil
}

var rabbitVersion = regexp.MustCompile(`Starting RabbitMQ (\S+) on Erlang`)

func (r *RabbitMQ) awaitReady(ctx context.Context, proc *process) error {
	ctx, cancel := context.WithTimeout(ctx, rabbitReadyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(r.path("rabbitmq.log"))
		if err == nil && bytes.Contains(text, []byte("Server startup complete")) {
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

// Stop ends the broker for good and removes its files. A second Stop does nothing.
func (r *RabbitMQ) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range []*process{r.proc, r.mapper} {
		if p != nil {
			p.kill()
		}
	}
	r.proc, r.mapper = nil, nil
	return os.RemoveAll(r.dir)
}

// Addr is host:port of the plaintext listener.
func (r *RabbitMQ) Addr() string { return loopback(r.port) }

// URL is the broker URL of Addr, for the user guest.
func (r *RabbitMQ) URL() string { return "amqp://guest:guest@" + r.Addr() }

// TLSAddr is host:port of the listener with TLS. The certificate is for 127.0.0.1 and localhost.
func (r *RabbitMQ) TLSAddr() string { return loopback(r.tlsPort) }

// TLS returns the certificates that the broker and its clients use; nil without RabbitMQOptions.TLS.
func (r *RabbitMQ) TLS() *TLSFiles { return r.tls }

// Version is the broker's own version, such as 3.10.8.
func (r *RabbitMQ) Version() string { return r.version }

// Pid is the broker's process id, 0 while it does not run.
func (r *RabbitMQ) Pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return 0
	}
	return r.proc.pid()
}

// Kill ends the broker as a crash would (SIGKILL) and returns once it is gone. Restart brings it back.
func (r *RabbitMQ) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return errors.New("testbroker: there is no RabbitMQ to kill")
	}
	r.proc.kill()
	r.proc = nil
	return nil
}

// Restart starts the broker again on the ports and with the data that it had, after ending it if it runs, and waits until
// it takes connections.
func (r *RabbitMQ) Restart(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc != nil {
		r.proc.kill()
		r.proc = nil
	}
	return r.launch(ctx)
}

// Freeze stops the broker's process without ending it (SIGSTOP): connections stay open and nothing is answered.
func (r *RabbitMQ) Freeze() error { return r.signal(sigFreeze) }

// Thaw lets a frozen broker go on (SIGCONT).
func (r *RabbitMQ) Thaw() error { return r.signal(sigThaw) }

func (r *RabbitMQ) signal(sig os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return errors.New("testbroker: there is no process to signal")
	}
	return r.proc.signal(sig)
}

// Control runs rabbitmqctl on the broker and returns what it printed.
func (r *RabbitMQ) Control(ctx context.Context, args ...string) (string, error) {
	program := filepath.Join(filepath.Dir(r.program), "rabbitmqctl")
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = r.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("testbroker: rabbitmqctl: %w\n%s", err, out)
	}
	return string(out), nil
}
