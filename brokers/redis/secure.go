package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// secure is how connections are secured with TLS.
type secure struct{ files tlsFiles }

// dialer returns a dialer that reads the files for each connection: a certificate is replaced without a restart.
func (s *secure) dialer(d *net.Dialer) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config, err := s.files.config()
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, network, addr)
	}
}

// tlsFiles are the paths that the URL names; each may be empty.
type tlsFiles struct{ ca, cert, key string }

func (f tlsFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca: the file has no certificate in PEM form")
		}
	}
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("tls_cert and tls_key go together: give both or none")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// credentials are where the password comes from, beside the URL itself.
type credentials struct {
	file     string
	variable string
}

func readCredentials(u *brokers.URL) credentials {
	return credentials{file: u.Param("password_file", ""), variable: u.Param("password_env", "")}
}

// finish sets the password of opt, or what asks for it whenever a connection is made.
func (c credentials) finish(u *brokers.URL, opt *goredis.Options) error {
	given := 0
	for _, s := range []string{u.Password, c.file, c.variable} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return errors.New("the password is given twice: in the URL, by password_file or by password_env, but by one of them only")
	}
	if c.file == "" && c.variable == "" {
		opt.Password = u.Password
		return nil
	}
	if _, err := c.password(); err != nil {
		return err
	}
	user := u.User
	opt.Username = "" // go-redis asks for both
	opt.CredentialsProviderContext = func(context.Context) (string, string, error) {
		password, err := c.password()
		return user, password, err
	}
	return nil
}

// password reads the password. A file's last newline is none of it.
func (c credentials) password() (string, error) {
	if c.variable != "" {
		password := os.Getenv(c.variable)
		if password == "" {
			return "", fmt.Errorf("password_env: the environment has no %s", c.variable)
		}
		return password, nil
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", errors.New("password_file: the file is empty")
	}
	return password, nil
}
