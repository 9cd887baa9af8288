package brokers

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A URL says which broker to open and how. Printing it, logging it or encoding it never shows its password.
type URL struct {
	// Scheme chooses the driver, such as "redis".
	Scheme string
	// Host is host[:port], or several of them separated by commas; it may be empty.
	Host string
	// User and Password are unescaped; both may be empty.
	User     string
	Password string
	// Path is what follows the host, with its leading slash; it may be empty.
	Path string

	query url.Values
	known []string
	bad   []error
}

// ParseURL reads a broker's URL. Its errors show what is wrong without showing a password.
func ParseURL(s string) (*URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The error of package url repeats the whole URL, password included.
		return nil, fmt.Errorf("broker URL cannot be read: %s (a user name or password with special characters has to be "+
			"percent-encoded)", urlFault(err, s))
	}
	if u.Scheme == "" || u.Opaque != "" {
		return nil, fmt.Errorf("broker URL has no scheme: write it as scheme://host:port, such as redis://localhost:6379 (%s)",
			schemesText())
	}
	if u.Fragment != "" {
		return nil, errors.New("broker URL has a #fragment, which no broker reads: percent-encode a # that belongs to a " +
			"password as %23")
	}
	if strings.Contains(u.EscapedPath(), "@") || strings.Contains(u.RawQuery, "@") {
		// In redis://user:12/34@host the password is 12/34, but it reads as port 12 and path /34@host, which are shown.
		return nil, errors.New("broker URL has an @ after its host: percent-encode a / or ? that belongs to a password as " +
			"%2F or %3F, and an @ of a path or parameter as %40")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("broker URL has a query that cannot be read: write it as ?name=value&name=value")
	}
	password, _ := u.User.Password()
	return &URL{
		Scheme: u.Scheme, Host: u.Host, User: u.User.Username(), Password: password, Path: u.Path, query: query,
	}, nil
}

// urlFault tells what package url disliked, with every part of the input that may be secret left out.
func urlFault(err error, s string) string {
	text := "bad syntax"
	if e, ok := err.(*url.Error); ok && !strings.ContainsAny(s, "@") {
		text = e.Err.Error()
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok && !strings.ContainsAny(scheme, "@:/?") {
		text += " after " + scheme + "://"
	}
	return text
}

// String returns the URL with its password and its query left out.
func (u URL) String() string {
	var b strings.Builder
	b.WriteString(u.Scheme)
	b.WriteString("://")
	if u.User != "" || u.Password != "" {
		b.WriteString(url.PathEscape(u.User))
		if u.Password != "" {
			b.WriteString(":***")
		}
		b.WriteByte('@')
	}
	b.WriteString(u.Host)
	b.WriteString((&url.URL{Path: u.Path}).EscapedPath())
	return b.String()
}

// GoString is String, so that %#v shows no password either.
func (u URL) GoString() string { return u.String() }

// MarshalText is String, so that neither JSON nor a structured log shows the password.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Param returns the query parameter name, or def where it is absent. Reading a parameter makes it known: see ParamsErr.
func (u *URL) Param(name, def string) string {
	u.known = append(u.known, name)
	if !u.query.Has(name) {
		return def
	}
	if n := len(u.query[name]); n > 1 {
		u.bad = append(u.bad, fmt.Errorf("parameter %q is given %d times", name, n))
	}
	return u.query.Get(name)
}

// DurationParam is Param for a positive duration such as 500ms.
func (u *URL) DurationParam(name string, def time.Duration) time.Duration {
	return parseParam(u, name, def, "a positive duration such as 500ms or 2s", func(s string) (time.Duration, bool) {
		d, err := time.ParseDuration(s)
		return d, err == nil && d > 0
	})
}

// IntParam is Param for an integer from low to high.
func (u *URL) IntParam(name string, def, low, high int) int {
	want := fmt.Sprintf("an integer from %d to %d", low, high)
	return parseParam(u, name, def, want, func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= low && n <= high
	})
}

// BoolParam is Param for true or false.
func (u *URL) BoolParam(name string, def bool) bool {
	return parseParam(u, name, def, "true or false", func(s string) (bool, bool) {
		return s == "true", s == "true" || s == "false"
	})
}

func parseParam[T any](u *URL, name string, def T, want string, parse func(string) (T, bool)) T {
	s := u.Param(name, "")
	if !u.query.Has(name) {
		return def
	}
	v, ok := parse(s)
	if !ok {
		u.bad = append(u.bad, fmt.Errorf("parameter %q is not %s", name, want))
		return def
	}
	return v
}

// ParamsErr reports what is wrong with the query: values that could not be read, and parameters that nobody asked for,
// with a list of the known ones. A driver calls it once it has read all parameters that it knows.
func (u *URL) ParamsErr() error {
	if len(u.bad) > 0 {
		return fmt.Errorf("%s://: %w", u.Scheme, u.bad[0])
	}
	for _, name := range sortedKeys(u.query) {
		if !slices.Contains(u.known, name) {
			return fmt.Errorf("%s://: parameter %q is unknown (%s)", u.Scheme, name, knownText(u.known))
		}
	}
	return nil
}

func knownText(known []string) string {
	if len(known) == 0 {
		return "it takes none"
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "it takes " + strings.Join(slices.Compact(known), ", ")
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
