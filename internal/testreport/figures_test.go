package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFiguresArePrintedUnderAHeading(t *testing.T) {
	var out strings.Builder
	if err := printFigures(&out, ""); err != nil || out.Len() > 0 {
		t.Errorf("without a file: %q, %v", out.String(), err)
	}
	path := filepath.Join(t.TempDir(), "figures")
	if err := printFigures(&out, path); err == nil {
		t.Error("a file that is not there is no error")
	}
	if err := os.WriteFile(path, []byte("frozen: p99 27µs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := printFigures(&out, path); err != nil || out.String() != "\nmeasured:\nfrozen: p99 27µs\n" {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}
