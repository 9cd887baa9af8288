package nats_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

var bothSchemes = []string{"nats://", "nats+js://"}

// works publishes and receives one message.
func works(t *testing.T, url string) {
	t.Helper()
	c := open(t, url)
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"login.a"}})
	if err := c.Publish(t.Context(), messages(1, "login.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the message arrives", func() bool { return r.has("body-0") })
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return url.QueryEscape(path)
}

// refuses fails unless Publish and Subscribe each return one error that is not retryable and has the word, and not the
// secret, in it.
func refuses(t *testing.T, url, word, secret string) {
	t.Helper()
	c := open(t, url)
	published := c.Publish(t.Context(), messages(2, "login.a"))
	subscribed := c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"login.a"}}, newRecorder())
	for _, err := range []error{published, subscribed} {
		if err == nil || c.Retryable(err) || !strings.Contains(strings.ToLower(err.Error()), word) {
			t.Errorf("%v (retryable: %v), want one that says %s", err, c.Retryable(err), word)
		}
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("the secret is in %v", err)
		}
	}
	var batch *brokers.BatchError
	if !errors.As(published, &batch) || len(batch.Failed) != 2 || batch.Failed[0].Outcome != brokers.NotSent {
		t.Errorf("%v, want both messages NotSent", published)
	}
}

func TestAWrongPasswordIsOneClearErrorWithoutThePassword(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{
		JetStream: true, Config: `authorization { user: bus, password: "right" }`,
	})
	for _, scheme := range bothSchemes {
		t.Run(scheme, func(t *testing.T) {
			works(t, scheme+"bus:right@"+server.Addr())
			works(t, scheme+"bus@"+server.Addr()+"?password_file="+file(t, "right\n"))
			refuses(t, scheme+"bus:sesame-wrong@"+server.Addr(), "authorization", "sesame-wrong")
			refuses(t, scheme+server.Addr(), "authorization", "right")
		})
	}
}

func TestATokenLogsIn(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{Config: `authorization { token: "s3cret" }`})
	works(t, "nats://s3cret@"+server.Addr())
	works(t, server.URL()+"?token_file="+file(t, "s3cret\n"))
	refuses(t, server.URL()+"?token_file="+file(t, "open-sesame"), "authorization", "open-sesame")
}

func TestAnNKeyLogsIn(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{
		Config: fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public),
	})
	works(t, server.URL()+"?nkey_seed="+file(t, string(seed)))
	refuses(t, server.URL(), "authorization", string(seed))
}

func TestTLSNeedsTheServersAuthority(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{TLS: true, JetStream: true})
	files := server.TLS()
	for _, scheme := range bothSchemes {
		t.Run(scheme, func(t *testing.T) {
			works(t, scheme+server.Addr()+"?tls_ca="+files.CA)
			works(t, scheme+server.Addr()+"?tls_ca="+files.CA+"&tls_cert="+files.ClientCert+"&tls_key="+files.ClientKey)
			refuses(t, scheme+server.Addr()+"?tls=true", "certificate", files.CA)
		})
	}
}

func TestAServerThatWantsAClientCertificateRefusesOthers(t *testing.T) {
	files := testbroker.AnyNATS(t, testbroker.NATSOptions{TLS: true}).TLS()
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{Config: fmt.Sprintf(
		"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", files.ServerCert, files.ServerKey, files.CA)})
	works(t, server.URL()+"?tls_ca="+files.CA+"&tls_cert="+files.ClientCert+"&tls_key="+files.ClientKey)
	// Whether the server's alert is read before the connection is gone is chance; the error names the certificate either way.
	for range 20 {
		err := open(t, server.URL()+"?tls_ca="+files.CA).Publish(t.Context(), messages(2, "login.a"))
		var batch *brokers.BatchError
		if !errors.As(err, &batch) || len(batch.Failed) != 2 || batch.Failed[0].Outcome != brokers.NotSent {
			t.Fatalf("%v, want both messages NotSent", err)
		}
		if !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), files.CA) {
			t.Errorf("%v, want an error that names the certificate and no file", err)
		}
	}
}

func TestWhatTheUserMayNotDoIsSaidPerChannel(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: `authorization { users: [ { user: bus, password: pw,
		permissions: { publish: { deny: ["secret.>"] }, subscribe: { deny: ["secret.>"] } } } ] }`})
	for _, scheme := range bothSchemes {
		t.Run(scheme, func(t *testing.T) {
			c := open(t, scheme+"bus:pw@"+server.Addr())
			err := c.Publish(t.Context(), []brokers.Message{message("open.a", "1"), message("secret.a", "2"), message("open.a", "3")})
			var batch *brokers.BatchError
			if !errors.As(err, &batch) || len(batch.Failed) != 1 || batch.Failed[0].Index != 1 ||
				batch.Failed[0].Outcome != brokers.Rejected || c.Retryable(err) {
				t.Fatalf("%v, want the second message rejected", err)
			}
		})
	}
	c := open(t, "nats://bus:pw@"+server.Addr())
	err := c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"open.>", "secret.a"}}, newRecorder())
	if err == nil || c.Retryable(err) {
		t.Fatalf("Subscribe to a denied channel returned %v", err)
	}
}

func TestAnAccountThatMayOnlyPublishNeedsNothingElse(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: `authorization { users: [
		{ user: all, password: pw },
		{ user: pub, password: pw, permissions: { publish: ["least.>"], subscribe: ["_INBOX.>"] } } ] }`})
	works(t, "nats+js://all:pw@"+server.Addr()+"?stream=LEAST&subjects=least.>,login.>")
	c := open(t, "nats+js://pub:pw@"+server.Addr()+"?create=false&stream=LEAST&subjects=least.>,login.>")
	if err := c.Publish(t.Context(), messages(3, "least.a")); err != nil {
		t.Fatal(err)
	}
	err := c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Group: "g", Channels: []string{"least.a"}}, newRecorder())
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), "$JS.API") {
		t.Fatalf("Subscribe returned %v, want what is denied", err)
	}
}

func TestAURLThatCanNeverWorkIsRefusedByOpen(t *testing.T) {
	for query, word := range map[string]string{
		"nats://h/path":                         "path",
		"nats://h:0":                            "port",
		"nats://h?prefetch=1":                   "unknown",
		"nats://h?tls_ca=/none":                 "tls_ca",
		"nats://h?tls_cert=/none":               "together",
		"nats://h?token_file=/none":             "token_file",
		"nats://h?creds=/none":                  "creds",
		"nats://h?nkey_seed=/none":              "nkey_seed",
		"nats://u:pw@h?token_file=/none":        "one of",
		"nats://u:pw@h?password_file=/none":     "password_file",
		"nats+js://h?stream=A":                  "subjects",
		"nats+js://h?stream=a.b&subjects=a":     "stream",
		"nats+js://h?stream=A&subjects=a..b":    "subjects",
		"nats+js://h?storage=tape":              "storage",
		"nats+js://h?buffer_messages=1":         "unknown",
		"nats+js://h?ack_wait=1ms":              "ack_wait",
		"nats+js://h?replicas=9":                "replicas",
		"nats://h?headers=some":                 "headers",
		"nats://user:sesame@h?password_file=/x": "password_file",
	} {
		_, err := brokers.Open(t.Context(), query)
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v, want an error about %s", query, err, word)
		}
	}
}

// An operator signs an account, the account signs a user, and the server knows the operator: what managed NATS services do.
func TestACredentialsFileLogsIn(t *testing.T) {
	operator, account, system := newKey(t, nkeys.CreateOperator), newKey(t, nkeys.CreateAccount), newKey(t, nkeys.CreateAccount)
	accountClaims := jwt.NewAccountClaims(account.public)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	operatorJWT := encode(t, jwt.NewOperatorClaims(operator.public), operator.pair)
	accountJWT := encode(t, accountClaims, operator.pair)
	systemJWT := encode(t, jwt.NewAccountClaims(system.public), operator.pair)
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: fmt.Sprintf(
		"operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		operatorJWT, system.public, account.public, accountJWT, system.public, systemJWT)})
	creds := func(signer nkeys.KeyPair) string {
		user := newKey(t, nkeys.CreateUser)
		text, err := jwt.FormatUserConfig(encode(t, jwt.NewUserClaims(user.public), signer), user.seed)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, scheme := range bothSchemes {
		t.Run(scheme, func(t *testing.T) {
			works(t, scheme+server.Addr()+"?creds="+file(t, creds(account.pair)))
			stranger := creds(newKey(t, nkeys.CreateAccount).pair)
			refuses(t, scheme+server.Addr()+"?creds="+file(t, stranger), "authorization", stranger)
		})
	}
}

type key struct {
	pair   nkeys.KeyPair
	public string
	seed   []byte
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) key {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	return key{pair, public, seed}
}

func encode(t *testing.T, claims jwt.Claims, signer nkeys.KeyPair) string {
	t.Helper()
	text, err := claims.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A file is replaced, the connection breaks, and the next one has what the file says then: no restart of the service. The
// server is told of the new password, or of new certificates of a new authority, at its own restart.
func TestCredentialsAreReplacedWithoutARestart(t *testing.T) {
	password, token := filepath.Join(t.TempDir(), "password"), filepath.Join(t.TempDir(), "token")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, file, url, config string
	}{
		{"password", password, "bus@HOST?password_file=" + url.QueryEscape(password), "authorization { user: bus, password: %q }"},
		{"token", token, "HOST?token_file=" + url.QueryEscape(token), "authorization { token: %q }"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret := filepath.Join(t.TempDir(), "server.conf")
			write(secret, fmt.Sprintf(tt.config, "first"))
			write(tt.file, "first\n")
			server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: include(secret)})
			for _, scheme := range bothSchemes {
				c, r := open(t, scheme+strings.Replace(tt.url, "HOST", server.Addr(), 1)), newRecorder()
				subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "", Channels: []string{"rotate.a"}})
				write(secret, fmt.Sprintf(tt.config, "second"))
				write(tt.file, "second\n")
				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "a message arrives with the new secret", func() bool {
					return c.Publish(t.Context(), messages(1, "rotate.a")) == nil && r.has("body-0")
				})
				write(secret, fmt.Sprintf(tt.config, "first"))
				write(tt.file, "first\n")
				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// include is the line of a server's configuration that reads another file; the path is relative to the configuration's.
func include(path string) string {
	return "include " + strconv.Quote(strings.Repeat("../", 20)+strings.TrimPrefix(path, "/")) + "\n"
}

func TestCertificatesAreReplacedWithoutARestart(t *testing.T) {
	old, next := testbroker.NewTLSFiles(t), testbroker.NewTLSFiles(t)
	mine := testbroker.NewTLSFiles(t) // the paths that the server and the service know
	replace := func(with *testbroker.TLSFiles) {
		for to, from := range map[string]string{
			mine.CA: with.CA, mine.ServerCert: with.ServerCert, mine.ServerKey: with.ServerKey,
			mine.ClientCert: with.ClientCert, mine.ClientKey: with.ClientKey,
		} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(old)
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{Config: fmt.Sprintf(
		"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", mine.ServerCert, mine.ServerKey, mine.CA)})
	c, r := open(t, server.URL()+"?tls_ca="+mine.CA+"&tls_cert="+mine.ClientCert+"&tls_key="+mine.ClientKey), newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"rotate.a"}})
	replace(next)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a message arrives with the new certificates", func() bool {
		return c.Publish(t.Context(), messages(1, "rotate.a")) == nil && r.has("body-0")
	})
}
