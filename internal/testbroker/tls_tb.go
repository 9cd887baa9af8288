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

// FreeAddr returns a loopback address on which nobody listens, for a server that a test starts itself.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return loopback(port)
}
