package rabbitmq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// settings are what the URL says.
type settings struct {
	scheme       string
	hosts        []string // host:port
	vhost        string
	dialTimeout  time.Duration
	writeTimeout time.Duration
	heartbeat    time.Duration
	clientName   string
	maxBytes     int // of a body
	exchange     string
	queue        string // quorum or classic
	single       bool
	create       bool
	prefetch     int
	settle       time.Duration
	required     []brokers.Pattern
	login        login
	secure       bool
	files        tlsfile.Files
}

// A login is how a session proves who it is.
type login struct {
	user, password string
	source         tlsfile.Source
	external       bool
}

// The kinds of queue.
const (
	quorum  = "quorum"
	classic = "classic"
)

// The defaults: a connection that was cut off without a word is noticed after one and a half heartbeats. Writing waits for as
// long as a server may be frozen and come back. 512 messages in flight keep a loopback server busy.
func defaults(scheme string) settings {
	return settings{
		scheme:       scheme,
		vhost:        "/",
		dialTimeout:  2 * time.Second,
		writeTimeout: 10 * time.Second,
		heartbeat:    4 * time.Second,
		clientName:   "eventbus",
		maxBytes:     1 << 20,
		exchange:     "eventbus",
		queue:        quorum,
		create:       true,
		prefetch:     512,
		settle:       1500 * time.Millisecond,
		secure:       scheme == secureScheme,
	}
}

// readURL returns what u asks for. Its errors never show a password.
func readURL(u *brokers.URL) (settings, error) {
	s := defaults(u.Scheme)
	s.dialTimeout = u.DurationParam("dial_timeout", s.dialTimeout)
	s.writeTimeout = u.DurationParam("write_timeout", s.writeTimeout)
	s.heartbeat = u.DurationParam("heartbeat", s.heartbeat)
	s.clientName = u.Param("client_name", s.clientName)
	s.maxBytes = u.IntParam("max_bytes", s.maxBytes, 1, 128<<20)
	s.exchange = u.Param("exchange", s.exchange)
	s.queue = u.Param("queue", s.queue)
	s.single = u.BoolParam("single_active", s.single)
	s.create = u.BoolParam("create", s.create)
	s.prefetch = u.IntParam("prefetch", s.prefetch, 1, 1<<16-1)
	s.settle = u.DurationParam("settle_time", s.settle)
	required := u.Param("required", "")
	s.login.user, s.login.password = u.User, u.Password
	s.login.source = tlsfile.Source{File: u.Param("password_file", ""), Env: u.Param("password_env", "")}
	mechanism := u.Param("auth", "plain")
	s.files.CA, s.files.Cert, s.files.Key = u.Param("tls_ca", ""), u.Param("tls_cert", ""), u.Param("tls_key", "")
	err := u.ParamsErr()
	if err != nil {
		return s, err
	}
	s.login.external = mechanism == "external"
	if s.hosts, err = hostsOf(u); err == nil {
		err = errors.Join(s.readVhost(u.Path), s.readRequired(required), s.check(mechanism))
	}
	if err != nil {
		return s, fmt.Errorf("%s://: %w", u.Scheme, err)
	}
	return s, nil
}

// readVhost reads the URL's path as https://www.rabbitmq.com/docs/uri-spec says, except that a single slash is the vhost
// "/" and not the one without a name.
func (s *settings) readVhost(path string) error {
	switch name := strings.TrimPrefix(path, "/"); {
	case name == "":
	case strings.ContainsRune(strings.TrimPrefix(name, "/"), '/'):
		return errors.New("the path is the name of one vhost: write a / that belongs to it as %2F")
	default:
		s.vhost = name
	}
	return nil
}

func (s *settings) readRequired(list string) error {
	if list == "" {
		return nil
	}
	for text := range strings.SplitSeq(list, ",") {
		p, err := brokers.ParsePattern(text)
		if err != nil {
			return fmt.Errorf("required: %w", err)
		}
		s.required = append(s.required, p)
	}
	return nil
}

// check reports what can never work, such as a file that is not there.
func (s *settings) check(mechanism string) error {
	switch {
	case s.queue != quorum && s.queue != classic:
		return errors.New("queue is neither quorum nor classic")
	case mechanism != "plain" && mechanism != "external":
		return errors.New("auth is neither plain nor external")
	case s.login.external && (!s.secure || s.files.Cert == ""):
		return errors.New("auth=external logs in by the client's certificate: it goes with amqps://, tls_cert and tls_key")
	case s.files.Named() && !s.secure:
		return errors.New("tls_ca, tls_cert and tls_key go with amqps://")
	case s.heartbeat < time.Second:
		return errors.New("heartbeat is under 1s, which the protocol cannot say")
	case len(s.exchange) > 60 || strings.HasPrefix(s.exchange, "amq.") || brokers.CheckChannel(s.exchange) != nil:
		return errors.New("exchange is no name that can be used: write a-z, 0-9, _, - and dots, at most 60 bytes, and " +
			"nothing that begins with amq., which is the broker's own")
	}
	_, _, err := s.config()
	return err
}

// hostsOf adds the default port to each host of a list.
func hostsOf(u *brokers.URL) ([]string, error) {
	port := "5672"
	if u.Scheme == secureScheme {
		port = "5671"
	}
	var out []string
	for host := range strings.SplitSeq(u.Host, ",") {
		if name, given, err := net.SplitHostPort(host); err == nil {
			if n, err := strconv.Atoi(given); err != nil || n < 1 || n > 65535 {
				return nil, errors.New("the port is not a number from 1 to 65535")
			}
			out = append(out, net.JoinHostPort(orLocalhost(name), given))
			continue
		}
		out = append(out, net.JoinHostPort(orLocalhost(strings.Trim(host, "[]")), port))
	}
	return out, nil
}

func orLocalhost(host string) string {
	if host == "" {
		return "localhost"
	}
	return host
}

// config returns the client's configuration and that of TLS, if any. Files are read here, once for each session, so that a
// credential can be changed without a restart.
func (s *settings) config() (amqp.Config, *tls.Config, error) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(s.clientName)
	c := amqp.Config{Vhost: s.vhost, Heartbeat: s.heartbeat, Properties: properties, Locale: "en_US", FrameSize: frameSize}
	how, err := s.login.mechanism()
	if err != nil {
		return c, nil, err
	}
	c.SASL = []amqp.Authentication{how}
	if !s.secure {
		return c, nil, nil
	}
	secure, err := s.files.Config()
	return c, secure, err
}

// mechanism is how to log in. Without a user it is the server's own guest, which it lets in from its own machine only.
func (l login) mechanism() (amqp.Authentication, error) {
	given := l.password != "" || l.source.Given()
	switch {
	case l.external && (l.user != "" || given):
		return nil, errors.New("auth=external takes neither a user nor a password: they are in the certificate")
	case l.external:
		return &amqp.ExternalAuth{}, nil
	case given && l.user == "":
		return nil, errors.New("there is a password, and no user that it is for")
	case l.user == "":
		return &amqp.PlainAuth{Username: "guest", Password: "guest"}, nil
	}
	if err := l.source.Check(l.password); err != nil || !l.source.Given() {
		return &amqp.PlainAuth{Username: l.user, Password: l.password}, err
	}
	password, err := l.source.Read()
	return &amqp.PlainAuth{Username: l.user, Password: password}, err
}

// frameSize is the largest frame that we agree to: the server's own default.
const frameSize = 128 << 10
