package testbroker

import "testing"

// NewTLSFiles makes a CA and certificates of it for one test.
func NewTLSFiles(tb testing.TB) *TLSFiles {
	tb.Helper()
	f, err := newTLSFiles(tb.TempDir())
	if err != nil {
		tb.Fatalf("testbroker: certificates: %v", err)
	}
	return f
}
