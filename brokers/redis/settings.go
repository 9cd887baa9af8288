package redis

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/overflow"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// settings are what the URL's parameters and the Options say, the same for every driver of this package.
type settings struct {
	dialTimeout  time.Duration
	readTimeout  time.Duration
	writeTimeout time.Duration
	pingInterval time.Duration
	poolSize     int
	clientName   string
	maxBytes     int             // of a body
	buffer       overflow.Limits // of what waits for one subscription's sink
	secure       *secure         // how connections are secured; nil for not at all
	hosts        *hosts          // sentinels; nil for none
	stream       streamSettings
}

// The defaults: a second is 1,000 times what a healthy server takes for a pipeline, and short enough that a frozen one
// holds few of them. Two pings and a reconnect fit into 10 s. The buffer takes what the server itself would keep for a
// slow subscriber (client-output-buffer-limit pubsub 32mb), so that a burst is dropped and counted here before it is
// there, where a subscriber is cut off and nobody counts. A body may have half of that: a larger one does not fit
// behind any backlog, and one of 32 MB cuts off every subscriber of its channel.
func defaults() settings {
	return settings{
		dialTimeout:  2 * time.Second,
		readTimeout:  time.Second,
		writeTimeout: time.Second,
		pingInterval: 3 * time.Second,
		poolSize:     16,
		maxBytes:     16 << 20,
		buffer:       overflow.Limits{Messages: 1 << 16, Bytes: 32 << 20},
		stream:       streamDefaults(),
	}
}

// An Option changes a default of New.
type Option func(*settings)

// PingInterval is the silence after which a subscription asks the server for a sign of life. After two of them without
// a byte received it takes the connection for dead. The default is 3 s; a d that is not positive leaves it.
func PingInterval(d time.Duration) Option {
	return func(s *settings) {
		if d > 0 {
			s.pingInterval = d
		}
	}
}

// Buffer bounds what waits for the sink of one subscription, in messages and in bytes of their bodies. More than that
// is dropped, newest first, and reported as a Gap with the count. The default is 65,536 messages and 32 MiB; a bound
// that is not positive leaves the default.
func Buffer(messages, bytes int) Option {
	return func(s *settings) {
		if messages > 0 {
			s.buffer.Messages = messages
		}
		if bytes > 0 {
			s.buffer.Bytes = bytes
		}
	}
}

// MaxBytes is the longest body that is published, in bytes; a longer one is Rejected. The default is 16 MiB, half of
// what a server by default keeps for a subscriber before it cuts it off: raise client-output-buffer-limit with it.
// Redis itself takes up to 512 MiB (proto-max-bulk-len). An n that is not positive leaves the default.
func MaxBytes(n int) Option {
	return func(s *settings) {
		if n > 0 {
			s.maxBytes = min(n, maxBulk)
		}
	}
}

// maxBulk is proto-max-bulk-len in redis.conf.
const maxBulk = 512 << 20

// readURL returns what u asks for. Its errors never show a password.
func readURL(u *brokers.URL) (settings, *goredis.Options, error) {
	s := defaults()
	s.readCommon(u)
	var err error
	if strings.Contains(u.Scheme, "+stream") {
		s.stream.read(u)
	} else {
		s.readPubSub(u)
	}
	auth := readSource(u, "")
	sentinel := readSentinel(u)
	var files tlsfile.Files
	withTLS := strings.HasPrefix(u.Scheme, "rediss")
	if withTLS {
		files = tlsfile.Files{CA: u.Param("tls_ca", ""), Cert: u.Param("tls_cert", ""), Key: u.Param("tls_key", "")}
	}
	if err := u.ParamsErr(); err != nil {
		return s, nil, err
	}
	opt := s.client()
	if err = authenticate(opt, u.User, u.Password, auth); err == nil {
		s.secure, err = s.finish(u, opt, files, withTLS)
	}
	if err == nil {
		s.hosts, err = sentinel.finish(u, opt, s.secure)
	}
	if err != nil {
		return s, nil, fmt.Errorf("%s://: %w", u.Scheme, err)
	}
	return s, opt, nil
}

// readCommon reads the parameters of every scheme.
func (s *settings) readCommon(u *brokers.URL) {
	s.dialTimeout = u.DurationParam("dial_timeout", s.dialTimeout)
	s.readTimeout = u.DurationParam("read_timeout", s.readTimeout)
	s.writeTimeout = u.DurationParam("write_timeout", s.writeTimeout)
	s.poolSize = u.IntParam("pool_size", s.poolSize, 1, 10_000)
	s.maxBytes = u.IntParam("max_bytes", s.maxBytes, 1, maxBulk)
	s.clientName = u.Param("client_name", "")
}

// readPubSub reads the parameters of Pub/Sub.
func (s *settings) readPubSub(u *brokers.URL) {
	s.pingInterval = u.DurationParam("ping_interval", s.pingInterval)
	s.buffer.Messages = u.IntParam("buffer_messages", s.buffer.Messages, 1, 1<<30)
	s.buffer.Bytes = u.IntParam("buffer_bytes", s.buffer.Bytes, 1, 1<<40)
}

// finish checks what the parameters say together and sets opt. It returns how connections are secured; nil for not at
// all.
func (s *settings) finish(u *brokers.URL, opt *goredis.Options, files tlsfile.Files, withTLS bool) (*secure, error) {
	if s.clientName != "" && !validName(s.clientName) {
		return nil, errors.New("client_name may have printable ASCII characters without spaces only")
	}
	if err := s.stream.check(); err != nil {
		return nil, err
	}
	var err error
	if opt.DB, err = database(u.Path); err != nil {
		return nil, err
	}
	if !withTLS {
		return nil, nil
	}
	if _, err := files.Config(); err != nil {
		return nil, err
	}
	return &secure{files: files}, nil
}

// client returns the options of a client that behaves as a driver must: it repeats nothing, since only the bus decides
// what is sent again, and it says nothing that it was not asked.
func (s settings) client() *goredis.Options {
	return &goredis.Options{
		ClientName: s.clientName,
		// RESP2: Pub/Sub needs nothing of RESP3, and with RESP3 the client looks for push notifications before each
		// message that it reads; that code also lost Pub/Sub frames from 9.16 to 9.21.
		Protocol:              2,
		MaxRetries:            -1,
		DialTimeout:           s.dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           s.readTimeout,
		WriteTimeout:          s.writeTimeout,
		ContextTimeoutEnabled: true,
		// Pipelines are all that there is: a second pool for them would only dial twice where the first dial failed.
		PipelinePoolSize: -1,
		PoolSize:         s.poolSize,
		PoolTimeout:      s.dialTimeout + s.readTimeout,
		ReadBufferSize:   32 << 10,
		WriteBufferSize:  64 << 10,
		// Each would cost a round trip for each connection.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// address adds the default host and port.
func address(host, port string) (string, error) {
	if strings.Contains(host, ",") {
		return "", errors.New("it takes one host; a list is of sentinels, and needs sentinel=, the name of the master")
	}
	if name, port, err := net.SplitHostPort(host); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", errors.New("the port is not a number from 1 to 65535")
		}
		return net.JoinHostPort(orLocalhost(name), port), nil
	}
	return net.JoinHostPort(orLocalhost(strings.Trim(host, "[]")), port), nil
}

func orLocalhost(host string) string {
	if host == "" {
		return "localhost"
	}
	return host
}

// database reads the path of a URL, such as /3.
func database(path string) (int, error) {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(path)
	if err != nil || n < 0 {
		return 0, errors.New("the path is not the number of a database, such as /0")
	}
	return n, nil
}

// validName reports whether CLIENT SETNAME takes s.
func validName(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
