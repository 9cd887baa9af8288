package brokers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

var errOpened = errors.New("opened")

// register adds drivers for one test.
func register(t *testing.T, ds ...Driver) {
	t.Helper()
	registry.Lock()
	before := registry.drivers
	registry.drivers = nil
	registry.Unlock()
	t.Cleanup(func() {
		registry.Lock()
		defer registry.Unlock()
		registry.drivers = before
	})
	for _, d := range ds {
		Register(d)
	}
}

func fake(scheme string, caps Capabilities) Driver {
	return Driver{Scheme: scheme, Promises: caps, Open: func(_ context.Context, u *URL) (Conn, error) {
		return nil, errors.Join(errOpened, errors.New(u.Host))
	}}
}

func TestOpenChoosesTheDriverByScheme(t *testing.T) {
	register(t, fake("a", Capabilities{}), fake("b", Capabilities{}))
	_, err := Open(t.Context(), "b://host")
	if !errors.Is(err, errOpened) || !strings.Contains(err.Error(), "host") {
		t.Errorf("Open returned %v", err)
	}
}

func TestOpenNamesWhatIsLinkedWhereADriverIsMissing(t *testing.T) {
	register(t, fake("b", Capabilities{}), fake("a", Capabilities{}))
	_, err := Open(t.Context(), "kafka://u:s3cret@h")
	if err == nil || !strings.Contains(err.Error(), "kafka://") || !strings.Contains(err.Error(), "linked: a://, b://") {
		t.Errorf("Open returned %v", err)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error shows the password: %v", err)
	}
	register(t)
	if _, err := Open(t.Context(), "kafka://h"); err == nil || !strings.Contains(err.Error(), "no driver is linked") {
		t.Errorf("Open without any driver returned %v", err)
	}
}

func TestOpenRefusesABadURL(t *testing.T) {
	if _, err := Open(t.Context(), "localhost:6379"); err == nil || !strings.Contains(err.Error(), "no scheme") {
		t.Errorf("Open returned %v", err)
	}
}

func TestASchemeIsRegisteredOnce(t *testing.T) {
	register(t, fake("a", Capabilities{}))
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "a") {
			t.Errorf("Register panicked with %q, wants the scheme", text)
		}
	}()
	Register(fake("a", Capabilities{}))
	t.Error("a scheme was registered twice")
}

func TestDriversAndPromisingAreSorted(t *testing.T) {
	register(t, fake("c", Capabilities{Groups: true}), fake("a", Capabilities{Groups: true}), fake("b", Capabilities{}))
	var schemes []string
	for _, d := range Drivers() {
		schemes = append(schemes, d.Scheme)
	}
	if !slices.Equal(schemes, []string{"a", "b", "c"}) {
		t.Errorf("Drivers returned %q", schemes)
	}
	if got := Promising(func(c Capabilities) bool { return c.Groups }); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("Promising returned %q", got)
	}
}
