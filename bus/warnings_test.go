package bus

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// A worriedConn has warnings.
type worriedConn struct {
	brokers.Conn
	warnings []string
}

func (c *worriedConn) Warnings() []string { return c.warnings }

func TestEachWarningOfADriverIsLoggedOnceUntilItIsOver(t *testing.T) {
	var logged []string
	note := func(_ string, _ slog.Level, _ string, attrs ...any) { logged = append(logged, attrs[3].(string)) }
	conn := &worriedConn{}
	l := &link{warner: conn, note: note, guard: func(_ string, f func()) error { f(); return nil }}
	for _, now := range [][]string{nil, {"a"}, {"a"}, {"a", "b"}, {"b"}, {"a", "b"}} {
		conn.warnings = now
		l.warn()
	}
	if !slices.Equal(logged, []string{"a", "b", "a"}) {
		t.Errorf("logged %q", logged)
	}
	(&link{}).warn() // a driver that never warns
}
