// Package tlsfile reads what the URLs of drivers name as files: certificates, keys and secrets. Its errors name the parameter
// and the file, and never show what is in it.
package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Files are the paths of PEM files that a URL names; each may be empty.
type Files struct {
	CA        string // of the authorities that signed the server's certificate; empty means the system's
	Cert, Key string // of the client
}

// Named reports whether any file is.
func (f Files) Named() bool { return f.CA != "" || f.Cert != "" || f.Key != "" }

// Config reads the files. TLS 1.2 is the oldest version that it allows.
func (f Files) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca: the file has no certificate in PEM form")
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("tls_cert and tls_key go together: give both or none")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Secret reads a file that holds nothing but a secret; param is the URL's parameter that names it.
func Secret(param, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", param, err)
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s: the file is empty", param)
}
