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

	"github.com/twmb/franz-go/pkg/kfake"
)

// EnvKafka names the folder that has the jars of Apache Kafka and of what it needs. Where it is not set, they are looked
// for in .cache/kafka of the repository, where scripts/ensure-kafka.sh puts them.
const EnvKafka = "EVENTBUS_KAFKA_JARS"

// The users that a Kafka with KafkaOptions.SASL knows: KafkaUser by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, and may do
// everything; KafkaLeastUser by PLAIN, and may do what access control lists allow it. They have the same password.
const (
	KafkaUser      = "alice"
	KafkaLeastUser = "bob"
	KafkaPassword  = "kafka-s3cret"
)

// KafkaOptions say how a Kafka is started. The zero value is a single node of Apache Kafka with a plaintext listener.
type KafkaOptions struct {
	// Proxy puts a proxy before the plaintext listener that clients are told to use: see Kafka.Cut.
	Proxy bool
	// SASL opens a second listener whose clients have to log in as KafkaUser or KafkaLeastUser.
	SASL bool
	// TLS opens a listener with a certificate of its own CA, which wants one of the client too: see Kafka.TLS. With SASL it
	// opens another one besides, which has both and wants no certificate of the client.
	TLS bool
	// InProcess starts franz-go's fake in this process, which can only be closed.
	InProcess bool
	// Properties are further lines of server.properties.
	Properties []string
	// Name is what the record calls it; StartKafka takes the test's name.
	Name string
}

// A Kafka is a running broker. Its methods are safe for concurrent use.
type Kafka struct {
	opts                            KafkaOptions
	jars, dir                       string
	port, controller, sasl, tlsPort int
	both                            int // of SASL over TLS
	tls                             *TLSFiles
	proxy                           *Proxy
	version                         string

	mu   sync.Mutex
	proc *process
	fake *kfake.Cluster
}

// kafkaReadyTimeout is how long a Kafka may take to listen. It takes some 5 s on two processors.
const kafkaReadyTimeout = 90 * time.Second

// StartKafkaServer starts a Kafka and waits until it takes connections. It returns ErrNoServer where there are no jars or
// no Java. Stop stops it.
func StartKafkaServer(ctx context.Context, opts KafkaOptions) (*Kafka, error) {
	return withFreePorts(func() (*Kafka, error) { return startKafka(ctx, opts) })
}

func startKafka(ctx context.Context, opts KafkaOptions) (*Kafka, error) {
	k := &Kafka{opts: opts}
	if opts.InProcess {
		return k, k.startFake()
	}
	var err error
	if k.jars, k.version, err = kafkaJars(); err != nil {
		return nil, err
	}
	if k.dir, err = os.MkdirTemp("", "eventbus-kafka-"); err != nil {
		return nil, err
	}
	if err = k.prepare(ctx); err == nil {
		err = k.launch(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, k.Stop())
	}
	return k, record("kafka", kindReal, k.version, opts.Name)
}

func (k *Kafka) startFake() error {
	var err error
	k.fake, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(1))
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(k.fake.ListenAddrs()[0])
	if err != nil {
		return err
	}
	k.port, _ = strconv.Atoi(port)
	k.version = "kfake"
	return record("kafka", kindInProcess, k.version, k.opts.Name)
}

// kafkaJars returns the folder of the jars and Kafka's version.
func kafkaJars() (dir, version string, err error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", "", fmt.Errorf("testbroker: java: %w", ErrNoServer)
	}
	if dir = os.Getenv(EnvKafka); dir == "" {
		dir = cachedJars()
	}
	found, _ := filepath.Glob(filepath.Join(dir, "kafka-clients-*.jar"))
	if dir == "" || len(found) == 0 {
		return "", "", fmt.Errorf("testbroker: Kafka's jars: %w", ErrNoServer)
	}
	version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka-clients-"), ".jar")
	return dir, version, nil
}

// cachedJars is .cache/kafka of the folder above that has go.mod.
func cachedJars() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "kafka")
		}
		above := filepath.Dir(dir)
		if above == dir {
			break
		}
		dir = above
	}
	return ""
}

// InstalledKafka reports whether a Kafka can be started as a process of its own.
func InstalledKafka() bool {
	_, _, err := kafkaJars()
	return err == nil
}

// prepare chooses ports, writes the configuration and formats the storage.
func (k *Kafka) prepare(ctx context.Context) error {
	for _, port := range []*int{&k.port, &k.controller, &k.sasl, &k.tlsPort, &k.both} {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if k.opts.Proxy {
		var err error
		if k.proxy, err = NewProxy(loopback(k.port)); err != nil {
			return err
		}
	}
	if k.opts.TLS {
		var err error
		if k.tls, err = newTLSFiles(k.dir); err != nil {
			return err
		}
		if err = k.tls.forJava(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(k.path("server.properties"), []byte(k.properties()), 0o600); err != nil {
		return err
	}
	args := []string{
		"-cp", filepath.Join(k.jars, "*"), "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg",
		"-c", k.path("server.properties"),
	}
	if k.opts.SASL {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", mechanism+"=[name="+KafkaUser+",password="+KafkaPassword+"]")
		}
	}
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("testbroker: format Kafka's storage: %w\n%s", err, out)
	}
	return nil
}

func (k *Kafka) path(name string) string { return filepath.Join(k.dir, name) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// launch starts the process and waits until it takes connections.
func (k *Kafka) launch(ctx context.Context) error {
	out, err := os.OpenFile(k.path("kafka.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	// The compiler for long-running code would compete with the tests for the processors.
	cmd := exec.Command("java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote", // of jars that thousands run: a fifth of the start
		"-cp", filepath.Join(k.jars, "*"), "kafka.Kafka", k.path("server.properties"))
	cmd.Stdout, cmd.Stderr = out, out
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("testbroker: Kafka: %w", err)
	}
	if err := k.awaitReady(ctx, proc); err != nil {
		proc.kill()
		tail, _ := os.ReadFile(k.path("kafka.log"))
		return fmt.Errorf("testbroker: Kafka does not answer: %w\n%s", err, tail)
	}
	k.proc = proc
	return nil
}

func (k *Kafka) awaitReady(ctx context.Context, proc *process) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaReadyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := k.listens(ctx)
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

// listens returns nil once all listeners take connections: they begin to one after the other.
func (k *Kafka) listens(ctx context.Context) error {
	ports := []int{k.port}
	if k.opts.SASL {
		ports = append(ports, k.sasl)
	}
	if k.opts.TLS {
		ports = append(ports, k.tlsPort)
	}
	if k.opts.SASL && k.opts.TLS {
		ports = append(ports, k.both)
	}
	for _, port := range ports {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port))
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the broker for good and removes its files. A second Stop does nothing.
func (k *Kafka) Stop() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fake != nil {
		k.fake.Close()
	}
	if k.proxy != nil {
		k.proxy.Close()
	}
	if k.proc != nil {
		k.proc.kill()
		k.proc = nil
	}
	if k.dir == "" {
		return nil
	}
	return os.RemoveAll(k.dir)
}

// Real reports whether it is a process of its own, which can be killed and frozen.
func (k *Kafka) Real() bool { return k.fake == nil }

// Addr is host:port of the plaintext listener, or of the proxy before it.
func (k *Kafka) Addr() string {
	if k.proxy != nil {
		return k.proxy.Addr()
	}
	return loopback(k.port)
}

// URL is the broker URL of Addr.
func (k *Kafka) URL() string { return "kafka://" + k.Addr() }

// SASLAddr is host:port of the listener whose clients have to log in.
func (k *Kafka) SASLAddr() string { return loopback(k.sasl) }

// SecureAddr is host:port of the listener with TLS whose clients have to log in.
func (k *Kafka) SecureAddr() string { return loopback(k.both) }

// TLSAddr is host:port of the listener with TLS. The certificate is for 127.0.0.1 and localhost.
func (k *Kafka) TLSAddr() string { return loopback(k.tlsPort) }

// TLS returns the certificates that the broker and its clients use; nil without KafkaOptions.TLS.
func (k *Kafka) TLS() *TLSFiles { return k.tls }

// Version is the broker's own version, such as 3.9.1, or "kfake".
func (k *Kafka) Version() string { return k.version }

// Kill ends the broker as a crash would (SIGKILL) and returns once it is gone. Restart brings it back.
func (k *Kafka) Kill() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc == nil {
		return errors.New("testbroker: there is no Kafka of its own process to kill")
	}
	k.proc.kill()
	k.proc = nil
	return nil
}

// Restart starts the broker again on the ports and with the data that it had, after ending it if it runs, and waits until
// it takes connections.
func (k *Kafka) Restart(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fake != nil {
		return errors.New("testbroker: a fake cannot be restarted")
	}
	if k.proc != nil {
		k.proc.kill()
		k.proc = nil
	}
	return k.launch(ctx)
}

// Freeze stops the broker's process without ending it (SIGSTOP): connections stay open and nothing is answered.
func (k *Kafka) Freeze() error { return k.signal(sigFreeze) }

// Thaw lets a frozen broker go on (SIGCONT).
func (k *Kafka) Thaw() error { return k.signal(sigThaw) }

func (k *Kafka) signal(sig os.Signal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc == nil {
		return errors.New("testbroker: there is no process to signal")
	}
	return k.proc.signal(sig)
}

// Cut breaks the connections of all clients with a TCP reset, while the broker lives on. It needs KafkaOptions.Proxy.
func (k *Kafka) Cut() error {
	if k.proxy == nil {
		return errors.New("testbroker: there is no proxy to cut connections")
	}
	if err := k.proxy.SetMode(Reset); err != nil {
		return err
	}
	return k.proxy.SetMode(Forward)
}
