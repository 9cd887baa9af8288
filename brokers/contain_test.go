package brokers_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestAPanicOfADriverIsAnErrorWithItsStack(t *testing.T) {
	if err := brokers.Contain(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("an error becomes %v", err)
	}
	var p *brokers.PanicError
	if err := brokers.Contain(func() error { panic("odd") }); !errors.As(err, &p) || !strings.Contains(err.Error(), "panicked: odd") ||
		!strings.Contains(string(p.Stack), "contain_test.go") {
		t.Errorf("a panic becomes %v", err)
	}
	if err := brokers.Contain(func() error { panic(io.ErrNoProgress) }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a panic with an error becomes %v", err)
	}
	secret := struct{ password string }{"s3cret"}
	if err := brokers.Contain(func() error { panic(secret) }); strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a value is printed: %v", err)
	}
	if err := brokers.Contain(func() error { panic(strings.Repeat("x", 1<<20)) }); len(err.Error()) > 2000 {
		t.Errorf("the text has %d bytes", len(err.Error()))
	}
}
