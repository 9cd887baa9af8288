package testbroker

import (
	"bufio"
	"context"
	"encoding/json"
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

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// NATSOptions say how a nats-server is started. The zero value is one without login, TLS and JetStream.
type NATSOptions struct {
	// JetStream switches it on, with its files in the server's temporary folder: they survive Kill and Restart.
	JetStream bool
	// Config is further text of the server's configuration file, such as an authorization block. {{dir}} in it stands
	// for the server's folder.
	Config string
	// TLS gives the server a certificate of a CA of its own, and makes it insist on TLS: see NATS.TLS.
	TLS bool
	// InProcess starts the server in this process: it cannot be frozen, and Kill shuts it down in good order.
	InProcess bool
	// Clock has the server's clock moved by SetClock. It is a program of its own, which is built where it is not there yet.
	Clock bool
	// Name is what the record calls it; StartNATS takes the test's name.
	Name string
}

// A NATS is a running nats-server. Its methods are safe for concurrent use.
type NATS struct {
	opts    NATSOptions
	program string
	dir     string
	port    int
	tls     *TLSFiles
	version string

	mu       sync.Mutex
	proc     *process
	embedded *natsserver.Server
	ahead    time.Duration // see SetClock
}

// LaunchNATS starts a nats-server and waits until it answers. Stop stops it.
func LaunchNATS(ctx context.Context, opts NATSOptions) (*NATS, error) {
	n := &NATS{opts: opts}
	var err error
	if !opts.InProcess {
		if n.program, err = natsProgram(ctx, opts); err != nil {
			return nil, err
		}
	}
	if n.dir, err = os.MkdirTemp("", "eventbus-nats-"); err != nil {
		return nil, err
	}
	if opts.TLS {
		n.tls, err = newTLSFiles(n.dir)
	}
	// Between choosing a port and the server's listening on it, somebody else may take it: another port then.
	for range 3 {
		if err == nil {
			n.port, err = freePort()
		}
		if err == nil {
			if err = n.launch(ctx); err == nil {
				break
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	kind := kindReal
	if opts.InProcess {
		kind = kindInProcess
	}
	return n, record("nats", kind, n.version, opts.Name)
}

// launch starts the server on the chosen port and waits until it answers.
func (n *NATS) launch(ctx context.Context) error {
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(n.config()), 0o600); err != nil {
		return err
	}
	if n.opts.InProcess {
		return n.embed(file)
	}
	logFile := filepath.Join(n.dir, "nats.log")
	cmd := exec.Command(n.program, "-c", file, "-l", logFile)
	if n.opts.Clock {
		if err := n.withClock(cmd); err != nil {
			return err
		}
	}
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("testbroker: nats-server: %w", err)
	}
	if err := n.awaitReady(ctx, proc); err != nil {
		proc.kill()
		tail, _ := os.ReadFile(logFile)
		return fmt.Errorf("testbroker: nats-server does not answer: %w\n%s", err, tail)
	}
	n.proc = proc
	return nil
}

// config is the text of the configuration file (https://docs.nats.io/running-a-nats-service/configuration).
func (n *NATS) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\n", n.Addr())
	if n.opts.JetStream {
		fmt.Fprintf(&b, "jetstream { store_dir: %q }\n", filepath.Join(n.dir, "js"))
	}
	if n.tls != nil {
		fmt.Fprintf(&b, "tls { cert_file: %q, key_file: %q, ca_file: %q }\n", n.tls.ServerCert, n.tls.ServerKey, n.tls.CA)
	}
	b.WriteString(strings.ReplaceAll(n.opts.Config, "{{dir}}", n.dir))
	return b.String()
}

func (n *NATS) embed(file string) error {
	opts, err := natsserver.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := natsserver.NewServer(opts)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		return errors.New("testbroker: the embedded nats-server is not ready")
	}
	n.embedded, n.version = s, natsserver.VERSION
	return nil
}

func (n *NATS) awaitReady(ctx context.Context, proc *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.greets(ctx)
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

// greets reads the server's INFO, with which it begins each connection.
func (n *NATS) greets(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", n.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	var info struct {
		Version   string
		JetStream bool
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		return err
	}
	if n.opts.JetStream && !info.JetStream {
		return errors.New("JetStream is not on yet")
	}
	n.version = info.Version
	return nil
}

// Real reports whether it is a nats-server of its own process, which can be frozen.
func (n *NATS) Real() bool { return !n.opts.InProcess }

// Addr is host:port of the server.
func (n *NATS) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// URL is the broker URL of Addr for core NATS, without credentials; JetURL is the one for JetStream.
func (n *NATS) URL() string { return "nats://" + n.Addr() }

// JetURL is the broker URL of Addr for JetStream, without credentials.
func (n *NATS) JetURL() string { return "nats+js://" + n.Addr() }

// TLS returns the certificates that the server and its clients use; nil without NATSOptions.TLS.
func (n *NATS) TLS() *TLSFiles { return n.tls }

// Version is the server's own version, such as 2.15.2.
func (n *NATS) Version() string { return n.version }

// Dir is the server's folder.
func (n *NATS) Dir() string { return n.dir }

// Stop ends the server for good and removes its files. A second Stop does nothing.
func (n *NATS) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end()
	if n.dir == "" {
		return nil
	}
	return os.RemoveAll(n.dir)
}

func (n *NATS) end() {
	if n.embedded != nil {
		n.embedded.Shutdown()
		n.embedded.WaitForShutdown()
		n.embedded = nil
	}
	if n.proc != nil {
		n.proc.kill()
		n.proc = nil
	}
}

// Kill ends the server as a crash would (SIGKILL) and returns once it is gone. Restart brings it back.
func (n *NATS) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil && n.embedded == nil {
		return errors.New("testbroker: nats-server does not run")
	}
	n.end()
	return nil
}

// Restart starts the server again on the port and the files that it had, after ending it if it runs.
func (n *NATS) Restart(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end()
	return n.launch(ctx)
}

// Freeze stops the server's process without ending it (SIGSTOP): connections stay open and nothing is answered.
func (n *NATS) Freeze() error { return n.signal(sigFreeze) }

// Thaw lets a frozen server go on (SIGCONT): it executes what it was sent meanwhile.
func (n *NATS) Thaw() error { return n.signal(sigThaw) }

func (n *NATS) signal(sig os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return errors.New("testbroker: there is no process to signal")
	}
	return n.proc.signal(sig)
}
