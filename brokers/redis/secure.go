package redis

import (
	"context"
	"crypto/tls"
	"net"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// secure is how connections are secured with TLS.
type secure struct{ files tlsfile.Files }

// dialer returns a dialer that reads the files for each connection: a certificate is replaced without a restart.
func (s *secure) dialer(d *net.Dialer) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config, err := s.files.Config()
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, network, addr)
	}
}

func readSource(u *brokers.URL, prefix string) tlsfile.Source {
	return tlsfile.Source{File: u.Param(prefix+"password_file", ""), Env: u.Param(prefix+"password_env", "")}
}

// authenticate sets the user and the password of opt, or what asks for them whenever a connection is made.
func authenticate(opt *goredis.Options, user, inURL string, from tlsfile.Source) error {
	if err := from.Check(inURL); err != nil {
		return err
	}
	if !from.Given() {
		opt.Username, opt.Password = user, inURL
		return nil
	}
	opt.CredentialsProviderContext = func(context.Context) (string, string, error) {
		password, err := from.Read()
		return user, password, err
	}
	return nil
}
