package brokers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want URL
	}{
		{"redis://localhost:6379", URL{Scheme: "redis", Host: "localhost:6379"}},
		{"memory://", URL{Scheme: "memory"}},
		{"memory://tests", URL{Scheme: "memory", Host: "tests"}},
		{"redis+stream://u:p%40ss@h/3", URL{Scheme: "redis+stream", Host: "h", User: "u", Password: "p@ss", Path: "/3"}},
		{"rediss://:secret@h", URL{Scheme: "rediss", Host: "h", Password: "secret"}},
		{"kafka://h1:9092,h2:9092", URL{Scheme: "kafka", Host: "h1:9092,h2:9092"}},
		{"REDIS://h?db=2", URL{Scheme: "redis", Host: "h"}},
		{"redis://u:pa@ss@h", URL{Scheme: "redis", Host: "h", User: "u", Password: "pa@ss"}},
	} {
		u, err := ParseURL(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		got := URL{Scheme: u.Scheme, Host: u.Host, User: u.User, Password: u.Password, Path: u.Path}
		if fmt.Sprintf("%+v", fields(got)) != fmt.Sprintf("%+v", fields(tt.want)) {
			t.Errorf("%s reads as %q, wants %q", tt.in, fields(got), fields(tt.want))
		}
	}
}

func fields(u URL) []string { return []string{u.Scheme, u.Host, u.User, u.Password, u.Path} }

func TestABadURLIsRefusedWithTheRemedy(t *testing.T) {
	for _, tt := range []struct{ in, remedy string }{
		{"", "scheme://host:port"},
		{"localhost:6379", "scheme://host:port"},
		{"//localhost", "scheme://host:port"},
		{"redis:localhost", "scheme://host:port"},
		{"redis://h:port", "after redis://"},
		{"redis://u:s3cret%@h", "percent-encoded"},
		{"redis://u:s3c#ret@h", "percent-encoded"},
		{"redis://u:12#s3cret@h", "%23"},
		{"redis://u:12/s3cret@h", "%2F"},
		{"redis://u:12?s3cret@h", "%3F"},
		{"redis://h?a=%zz", "?name=value"},
	} {
		_, err := ParseURL(tt.in)
		switch {
		case err == nil:
			t.Errorf("%q was read", tt.in)
		case !strings.Contains(err.Error(), tt.remedy):
			t.Errorf("%q: the error does not say %q: %v", tt.in, tt.remedy, err)
		case strings.Contains(err.Error(), "s3c"):
			t.Errorf("%q: the error shows the password: %v", tt.in, err)
		}
	}
}

func TestParameters(t *testing.T) {
	u, err := ParseURL("x://h?d=1s&n=7&b=true&s=text&empty=")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.DurationParam("d", 0); got != time.Second {
		t.Errorf("d is %v", got)
	}
	if got := u.IntParam("n", 0, 1, 10); got != 7 {
		t.Errorf("n is %d", got)
	}
	if !u.BoolParam("b", false) || u.Param("s", "") != "text" || u.Param("empty", "def") != "" {
		t.Errorf("b, s or empty is wrong")
	}
	if u.IntParam("absent", 3, 1, 10) != 3 || u.DurationParam("absent2", 4) != 4 || !u.BoolParam("absent3", true) {
		t.Errorf("an absent parameter is not its default")
	}
	if err := u.ParamsErr(); err != nil {
		t.Error(err)
	}
}

func TestABadParameterIsNamedAndItsValueIsNotShown(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"n=s3cret", `parameter "n" is not an integer from 1 to 10`},
		{"n=11", `parameter "n" is not an integer`},
		{"n=", `parameter "n" is not an integer`},
		{"d=s3cret", `parameter "d" is not a positive duration`},
		{"d=-1s", `parameter "d" is not a positive duration`},
		{"b=yes", `parameter "b" is not true or false`},
		{"n=1&n=2", `parameter "n" is given 2 times`},
		{"timout=s3cret", `parameter "timout" is unknown (it takes b, d, n)`},
	} {
		u, err := ParseURL("x://h?" + tt.query)
		if err != nil {
			t.Fatal(err)
		}
		u.IntParam("n", 5, 1, 10)
		u.DurationParam("d", time.Second)
		u.BoolParam("b", false)
		err = u.ParamsErr()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("?%s: %v, wants %s", tt.query, err, tt.want)
		}
	}
	u, _ := ParseURL("x://h?a=1")
	if err := u.ParamsErr(); err == nil || !strings.Contains(err.Error(), "it takes none") {
		t.Errorf("a driver without parameters says %v", err)
	}
}

// shown returns everything that a program may print of a URL.
func shown(u *URL) string {
	text, _ := json.Marshal(u)
	value, _ := json.Marshal(*u)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "url", u, "value", *u)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "url", u, "value", *u)
	verbs := fmt.Sprint(u, *u) + fmt.Sprintf("%+v %#v %q %s %+v %#v", u, u, u, u, *u, *u)
	return verbs + string(text) + string(value) + log.String()
}

func TestAPasswordIsShownNowhere(t *testing.T) {
	u, err := ParseURL("redis://someone:s3cret@h:1/2?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if text := shown(u); strings.Contains(text, "s3cret") || !strings.Contains(text, "redis://someone:***@h:1/2") {
		t.Errorf("a URL is shown as %s", text)
	}
}

// FuzzParseURL: whatever surrounds and is in a password, no error and nothing that a program prints of the URL contains
// either end of it.
func FuzzParseURL(f *testing.F) {
	for _, mid := range []string{
		"", "@", "@h/", "@h?", "@h#", "/", "?", "#", ":", "%", "%40", "://", "[", "]@[", " ", "\n", "\x00", "é", "&x=",
		"1@h:80/x/", "@h/?a=", ";", "=", "\\", "@[::1]/", "@h?a=1&", "@h/%",
	} {
		f.Add("redis", mid, "localhost:6379/0?db=1")
		f.Add("", mid, "")
		f.Add("memory", mid, "h?n=x#y")
	}
	f.Add("redis", "", "[::1")
	f.Add("re dis", "", "h")
	f.Fuzz(func(t *testing.T, scheme, mid, tail string) {
		const head, end = "XhEaDx", "XeNdX"
		for _, password := range []string{head + mid + end, "77" + mid + end} {
			noPasswordIn(t, scheme+"://user:"+password+"@"+tail, head, end)
		}
		_, _ = ParseURL(scheme + mid + tail)
	})
}

func noPasswordIn(t *testing.T, raw string, parts ...string) {
	t.Helper()
	var text string
	u, err := ParseURL(raw)
	if err == nil {
		u.IntParam("n", 1, 1, 2)
		u.DurationParam("d", 1)
		u.BoolParam("b", false)
		text = shown(u)
		if err := u.ParamsErr(); err != nil {
			text += err.Error()
		}
	} else {
		text = err.Error()
	}
	if _, err := Open(context.Background(), raw); err != nil {
		text += err.Error()
	}
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q: the password shows in %s", raw, text)
		}
	}
}
