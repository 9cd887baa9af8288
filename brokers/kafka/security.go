package kafka

import (
	"context"
	"errors"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// security is who we are and whom we trust. Each field may be empty.
type security struct {
	user, password string
	source         tlsfile.Source
	mechanism      string
	tls            bool
	files          tlsfile.Files
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
	case s.user == "" && (s.password != "" || s.source.Given()):
		return errors.New("a password needs a user: write kafka://user:password@host:9092")
	}
	s.tls = s.tls || s.files.Named()
	if s.tls {
		if _, err := s.files.Config(); err != nil {
			return err
		}
	}
	return s.source.Check(s.password)
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
	if l.s.source.Given() {
		var err error
		if password, err = l.s.source.Read(); err != nil {
			return nil, nil, err
		}
	}
	m, err := mechanisms[l.s.mechanism](l.s.user, password)
	if err != nil {
		return nil, nil, errors.New("the user or the password has characters that SCRAM does not allow")
	}
	return m.Start(ctx)
}
