package testbroker

import (
	"errors"
	"testing"
)

func TestAServerWhosePortWasTakenIsStartedAgain(t *testing.T) {
	taken, other := errors.New("it ended at once\n{listen_error, eaddrinuse}"), errors.New("it ended at once")
	for _, tt := range []struct {
		name  string
		errs  []error // of each start
		tries int
	}{
		{"at once", []error{nil}, 1},
		{"taken once", []error{taken, nil}, 2},
		{"always taken", []error{taken, taken, taken, nil}, 3},
		{"another error", []error{other, nil}, 1},
	} {
		tries := 0
		_, err := withFreePorts(func() (int, error) { tries++; return 0, tt.errs[tries-1] })
		if tries != tt.tries || !errors.Is(err, tt.errs[tries-1]) {
			t.Errorf("%s: %d tries, %v", tt.name, tries, err)
		}
	}
}
