package nats

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/overflow"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// settings are what the URL says, of both drivers.
type settings struct {
	scheme       string
	servers      string // nats://h:p,nats://h:p, without credentials
	dialTimeout  time.Duration
	writeTimeout time.Duration
	pingInterval time.Duration
	clientName   string
	maxBytes     int // of a body
	headers      headerMode
	buffer       overflow.Limits // of what waits for one subscription's sink
	login        login
	tls          tlsSettings
	jet          jetSettings
}

// headroom is what of the server's max_payload, 1 MiB by default, is kept for headers, which count into it.
const headroom = 16 << 10

// The defaults: a second is 1,000 times what a healthy server takes for a batch, and short enough that a frozen one holds
// few of them. Two pings and a reconnect fit into 10 s.
func defaults(scheme string) settings {
	return settings{
		scheme:       scheme,
		dialTimeout:  2 * time.Second,
		writeTimeout: time.Second,
		pingInterval: 3 * time.Second,
		clientName:   "eventbus",
		maxBytes:     1<<20 - headroom,
		buffer:       overflow.Limits{Messages: 1 << 16, Bytes: 32 << 20},
		jet:          jetDefaults(),
	}
}

// readURL returns what u asks for. Its errors never show a password.
func readURL(u *brokers.URL) (settings, error) {
	s := defaults(u.Scheme)
	s.dialTimeout = u.DurationParam("dial_timeout", s.dialTimeout)
	s.writeTimeout = u.DurationParam("write_timeout", s.writeTimeout)
	s.pingInterval = u.DurationParam("ping_interval", s.pingInterval)
	s.maxBytes = u.IntParam("max_bytes", s.maxBytes, 1, 64<<20)
	s.clientName = u.Param("client_name", s.clientName)
	s.login.tokenFile = u.Param("token_file", "")
	s.login.source = tlsfile.Source{File: u.Param("password_file", ""), Env: u.Param("password_env", "")}
	s.login.creds, s.login.nkey = u.Param("creds", ""), u.Param("nkey_seed", "")
	s.login.user, s.login.password = u.User, u.Password
	s.tls.on = u.BoolParam("tls", false)
	s.tls.first = u.BoolParam("tls_first", false)
	s.tls.files = tlsfile.Files{CA: u.Param("tls_ca", ""), Cert: u.Param("tls_cert", ""), Key: u.Param("tls_key", "")}
	mode := u.Param("headers", "needed")
	if u.Scheme == jetScheme {
		s.jet.read(u)
	} else {
		s.buffer.Messages = u.IntParam("buffer_messages", s.buffer.Messages, 1, 1<<30)
		s.buffer.Bytes = u.IntParam("buffer_bytes", s.buffer.Bytes, 1, 1<<40)
	}
	err := u.ParamsErr()
	if err != nil {
		return s, err
	}
	if s.servers, err = servers(u.Host); err == nil {
		err = s.check(u.Path, mode)
	}
	if err != nil {
		return s, fmt.Errorf("%s://: %w", u.Scheme, err)
	}
	return s, nil
}

// check reports what can never work, such as a file that is not there.
func (s *settings) check(path, mode string) error {
	if strings.Trim(path, "/") != "" {
		return errors.New("the URL has a path, which means nothing here")
	}
	var known bool
	if s.headers, known = headerModes[mode]; !known {
		return errors.New("headers is none of needed, all and none")
	}
	if err := s.jet.check(); err != nil {
		return err
	}
	_, err := s.options()
	return err
}

// servers adds the default host and port to each host of a list.
func servers(hosts string) (string, error) {
	var out []string
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := address(host)
		if err != nil {
			return "", err
		}
		out = append(out, "nats://"+addr)
	}
	return strings.Join(out, ","), nil
}

func address(host string) (string, error) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", errors.New("the port is not a number from 1 to 65535")
		}
		return net.JoinHostPort(orLocalhost(name), port), nil
	}
	return net.JoinHostPort(orLocalhost(strings.Trim(host, "[]")), "4222"), nil
}

func orLocalhost(host string) string {
	if host == "" {
		return "localhost"
	}
	return host
}

// options returns the client's options that do not depend on one session. Files are read here, once for each session, so
// that a credential can be changed without a restart.
//
// The client never reconnects: a link opens a new session instead. Suppose the client reconnected: bytes that it had
// buffered would be sent late, subscriptions would come back without a word, and after 60 failures it would be closed
// for ever.
func (s settings) options() ([]natsgo.Option, error) {
	out := []natsgo.Option{
		natsgo.Name(s.clientName), natsgo.Timeout(s.dialTimeout), natsgo.NoReconnect(),
		natsgo.PingInterval(s.pingInterval), natsgo.MaxPingsOutstanding(2), natsgo.FlusherTimeout(s.writeTimeout),
		natsgo.SkipSubjectValidation(), // brokers.CheckChannel is stricter
	}
	login, err := s.login.options()
	if err != nil {
		return nil, err
	}
	secure, err := s.tls.options()
	return append(append(out, login...), secure...), err
}

// A login is how a session proves who it is; at most one way is given.
type login struct {
	user, password         string
	source                 tlsfile.Source
	tokenFile, creds, nkey string
}

func (l login) options() ([]natsgo.Option, error) {
	ways := 0
	for _, way := range []string{l.user + l.password, l.tokenFile, l.creds, l.nkey} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, errors.New("give one of user and password, token_file, creds and nkey_seed")
	case l.source.Given():
		return l.fromSource()
	case l.tokenFile != "":
		token, err := tlsfile.Secret("token_file", l.tokenFile)
		return []natsgo.Option{natsgo.Token(token)}, err
	case l.creds != "":
		if _, err := os.Stat(l.creds); err != nil {
			return nil, fmt.Errorf("creds: %w", err)
		}
		return []natsgo.Option{natsgo.UserCredentials(l.creds)}, nil
	case l.nkey != "":
		option, err := natsgo.NkeyOptionFromSeed(l.nkey)
		if err != nil {
			return nil, fmt.Errorf("nkey_seed: %w", err)
		}
		return []natsgo.Option{option}, nil
	case l.password != "":
		return []natsgo.Option{natsgo.UserInfo(l.user, l.password)}, nil
	case l.user != "": // as other NATS clients read it: nats://token@host
		return []natsgo.Option{natsgo.Token(l.user)}, nil
	}
	return nil, nil
}

// fromSource is options for a password that is not in the URL.
func (l login) fromSource() ([]natsgo.Option, error) {
	if l.user == "" {
		return nil, errors.New("password_file and password_env go with a user: write nats://user@host")
	}
	if err := l.source.Check(l.password); err != nil {
		return nil, err
	}
	password, err := l.source.Read()
	return []natsgo.Option{natsgo.UserInfo(l.user, password)}, err
}

// tlsSettings are what the URL says of TLS. Naming a file switches it on.
type tlsSettings struct {
	on, first bool
	files     tlsfile.Files
}

func (t tlsSettings) options() ([]natsgo.Option, error) {
	if !t.on && !t.first && !t.files.Named() {
		return nil, nil
	}
	config, err := t.files.Config()
	if err != nil {
		return nil, err
	}
	out := []natsgo.Option{natsgo.Secure(config)}
	if t.first {
		out = append(out, natsgo.TLSHandshakeFirst())
	}
	return out, nil
}
