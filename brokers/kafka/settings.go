package kafka

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// settings are what the URL's parameters say.
type settings struct {
	create         bool
	partitions     int // -1 is the broker's own default, as of Kafka 2.4
	replication    int // as above
	maxBytes       int // of a body
	clientID       string
	dialTimeout    time.Duration
	requestTimeout time.Duration
	startup        time.Duration // see shortage
	metadataTTL    time.Duration
	session        time.Duration
	heartbeat      time.Duration
	rebalance      time.Duration
	commit         time.Duration
	bufferBytes    int
	maxAhead       int
	maxUncommitted int
}

// defaults: the body's limit leaves 48 KB for key, headers and the batch's own bytes within the 1,048,588 bytes that a
// broker takes for a batch (message.max.bytes). A dead consumer's partitions go to the others after the session timeout;
// brokers allow no less than 6 s (group.min.session.timeout.ms). Heartbeats are how members learn of a rebalance, so
// they are more frequent than a session needs. 65,536 messages ahead take about 15 MB of memory. 10,000 that are settled and
// not committed are some 40 ms of reading as fast as one process can, in which a commit is answered several times over.
func defaults() settings {
	return settings{
		create: true, partitions: -1, replication: -1, maxBytes: 1_000_000,
		dialTimeout: 3 * time.Second, requestTimeout: 10 * time.Second, startup: 30 * time.Second, metadataTTL: 5 * time.Second,
		session: 10 * time.Second, heartbeat: time.Second, rebalance: 30 * time.Second,
		commit: 100 * time.Millisecond, bufferBytes: 32 << 20, maxAhead: 1 << 16,
		maxUncommitted: 10_000,
	}
}

// overhead is what key and headers of a message may have besides its body, with the batch's own bytes.
const overhead = 48_000

// readURL returns what u asks for. Its errors never show a password.
func readURL(u *brokers.URL) (settings, []string, security, error) {
	s := defaults()
	s.create = u.BoolParam("create", s.create)
	s.partitions = u.IntParam("partitions", s.partitions, 1, 100_000)
	s.replication = u.IntParam("replication", s.replication, 1, 100)
	s.maxBytes = u.IntParam("max_bytes", s.maxBytes, 1, 1<<30)
	s.clientID = u.Param("client_id", "eventbus")
	s.dialTimeout = u.DurationParam("dial_timeout", s.dialTimeout)
	s.requestTimeout = u.DurationParam("request_timeout", s.requestTimeout)
	s.startup = u.DurationParam("startup_timeout", s.startup)
	s.metadataTTL = u.DurationParam("metadata_ttl", s.metadataTTL)
	s.session = u.DurationParam("session_timeout", s.session)
	s.heartbeat = u.DurationParam("heartbeat_interval", s.heartbeat)
	s.rebalance = u.DurationParam("rebalance_timeout", s.rebalance)
	s.commit = u.DurationParam("commit_interval", s.commit)
	s.bufferBytes = u.IntParam("buffer_bytes", s.bufferBytes, 1, 1<<40)
	s.maxAhead = u.IntParam("max_ahead", s.maxAhead, 1, 1<<24)
	s.maxUncommitted = u.IntParam("max_uncommitted", s.maxUncommitted, 1, 1<<24)
	sec := security{
		user: u.User, password: u.Password,
		mechanism: u.Param("sasl", ""),
		source:    tlsfile.Source{File: u.Param("password_file", ""), Env: u.Param("password_env", "")},
		tls:       u.BoolParam("tls", false),
		files:     tlsfile.Files{CA: u.Param("tls_ca", ""), Cert: u.Param("tls_cert", ""), Key: u.Param("tls_key", "")},
	}
	if err := u.ParamsErr(); err != nil {
		return s, nil, sec, err
	}
	if u.Path != "" && u.Path != "/" {
		return s, nil, sec, errors.New("kafka://: it takes no path: channels are named by whoever publishes and subscribes")
	}
	if s.heartbeat*2 > s.session {
		return s, nil, sec, errors.New("kafka://: heartbeat_interval has to be less than half of session_timeout")
	}
	hosts, err := addresses(u.Host)
	if err != nil {
		return s, nil, sec, fmt.Errorf("kafka://: %w", err)
	}
	if err := sec.check(); err != nil {
		return s, nil, sec, fmt.Errorf("kafka://: %w", err)
	}
	return s, hosts, sec, nil
}

// addresses reads host[:port],host[:port] and adds the default host and port.
func addresses(hosts string) ([]string, error) {
	var out []string
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), "9092"
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("a port is not a number from 1 to 65535")
		}
		if name == "" && strings.Contains(hosts, ",") {
			return nil, errors.New("a host between commas is missing")
		}
		if name == "" {
			name = "localhost"
		}
		out = append(out, net.JoinHostPort(name, port))
	}
	return out, nil
}
