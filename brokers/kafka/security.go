package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// security is who we are and whom we trust. Each field may be empty.
type security struct {
	user, password, passwordFile string
	mechanism                    string
	tls                          bool
	ca, cert, key                string
}

// mechanisms are the values of the parameter sasl.
var mechanisms = map[string]func(user, password string) (sasl.Mechanism, error){
	"plain": func(user, password string) (sasl.Mechanism, error) {
		return plain.Mechanism{Username: user, Password: password}, nil
	},
	"scram-sha-256": func(user, password string) (sasl.Mechanism, error) {
		return scram.Mechanism(scram.SHA256, user, password)
	},
	"scram-sha-512": func(user, password string) (sasl.Mechanism, error) {
		return scram.Mechanism(scram.SHA512, user, password)
	},
}

// check finds what can never work.
func (s *security) check() error {
	if s.user != "" && s.mechanism == "" {
		s.mechanism = "plain"
	}
	switch {
	case s.mechanism != "" && mechanisms[s.mechanism] == nil:
		return errors.New("the parameter sasl is not plain, scram-sha-256 or scram-sha-512")
	case s.mechanism != "" && s.user == "":
		return errors.New("the parameter sasl needs a user: write kafka://user:password@host:9092")
	case s.user == "" && (s.password != "" || s.passwordFile != ""):
		return errors.New("a password needs a user: write kafka://user:password@host:9092")
	case s.password != "" && s.passwordFile != "":
		return errors.New("there is a password in the URL and a password_file: give one of them")
	}
	if s.passwordFile != "" {
		if _, err := os.ReadFile(s.passwordFile); err != nil {
			return fmt.Errorf("password_file: %w", err)
		}
	}
	if s.ca != "" || s.cert != "" || s.key != "" {
		s.tls = true
	}
	return nil
}

// sasl returns nil where there is no user.
func (s *security) sasl() sasl.Mechanism {
	if s.user == "" {
		return nil
	}
	return login{s}
}

// A login begins each connection with the password that the file has then, so that it can be changed without a restart.
type login struct{ s *security }

// Name is the mechanism's name on the wire.
func (l login) Name() string { return strings.ToUpper(l.s.mechanism) }

// Start begins one exchange.
func (l login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	password := l.s.password
	if l.s.passwordFile != "" {
		b, err := os.ReadFile(l.s.passwordFile)
		if err != nil {
			return nil, nil, fmt.Errorf("password_file: %w", err)
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	m, err := mechanisms[l.s.mechanism](l.s.user, password)
	if err != nil {
		return nil, nil, errors.New("the user or the password has characters that SCRAM does not allow")
	}
	return m.Start(ctx)
}

// config returns nil where there is no TLS.
func (s *security) config() (*tls.Config, error) {
	if !s.tls {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca: the file has no certificate in PEM form")
		}
	}
	if (s.cert == "") != (s.key == "") {
		return nil, errors.New("tls_cert and tls_key go together: give both or none")
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
