package testbroker

import (
	"fmt"
	"os"
	"strings"
)

// Environment variables that govern this package.
const (
	// EnvRequireReal, when it is 1, makes a missing server a failure instead of a skip.
	EnvRequireReal = "EVENTBUS_REQUIRE_REAL"
	// EnvRecord names the file to which each start appends a line.
	EnvRecord = "EVENTBUS_TEST_RECORD"
)

// What a record says of a server.
const (
	kindReal      = "real"
	kindInProcess = "in-process"
)

// record appends one line to the file that EnvRecord names, if it names one. The line is one write to a file opened for
// appending, so that the test binaries of several packages can share the file.
func record(broker, kind, version, name string) error {
	path := os.Getenv(EnvRecord)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("testbroker: record of servers: %w", err)
	}
	defer f.Close()
	fields := []string{broker, kind, version, name}
	for i, s := range fields {
		fields[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(s)
	}
	_, err = f.WriteString(strings.Join(fields, "\t") + "\n")
	return err
}
