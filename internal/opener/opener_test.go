package opener_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/internal/opener"
)

var errNone = errors.New("no such shelf")

func TestAStoreIsOpenedByItsScheme(t *testing.T) {
	o := opener.Openers[string]{Package: "shelf", Example: "books.db", ErrNoScheme: errNone}
	o.Register("wood", func(url string) (string, error) { return "opened " + url, nil })
	if got, err := o.Open("wood:oak"); got != "opened wood:oak" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if !o.Registered("wood") || o.Registered("steel") {
		t.Error("wood alone is registered")
	}
	for url, says := range map[string]string{
		"steel://u:secret@host": "no such shelf: steel (there are wood;", "oak": "sqlite:books.db", ":": "this is no URL",
	} {
		_, err := o.Open(url)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
		if errors.Is(err, errNone) != strings.HasPrefix(url, "steel") {
			t.Errorf("%s: %v wraps the wrong error", url, err)
		}
	}
	defer func() {
		if p := recover(); p != "shelf: two stores for wood://" {
			t.Errorf("the panic says %v", p)
		}
	}()
	o.Register("wood", nil)
}
