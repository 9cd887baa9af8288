package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestEveryRowOfTheOtherBrokersRuns(t *testing.T) {
	for _, e := range brokerExperiments {
		t.Run(e.name, func(t *testing.T) {
			rows, err := e.run(t.Context(), &lab{plan: tinyPlan, progress: io.Discard})
			if errors.Is(err, testbroker.ErrNoServer) && os.Getenv(testbroker.EnvRequireReal) != "1" {
				t.Skip("needs the broker's real server, which is not installed")
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if r.target != "" && !(r.ratios.mid > 0 || r.got.rate > 0) {
					t.Errorf("%s was not measured", r.what)
				}
			}
		})
	}
}

func TestAnErrorReplyIsFoundWhereALineBegins(t *testing.T) {
	for _, c := range []struct {
		reply     string
		lineStart bool
		want      int
	}{
		{"$5\r\n123-0\r\n", true, -1},
		{":0\r\n-ERR no\r\n", true, 4},
		{"-ERR no\r\n", true, 0},
		{"-0\r\n", false, -1},
	} {
		if got := errorIn([]byte(c.reply), c.lineStart); got != c.want {
			t.Errorf("errorIn(%q, %v) = %d, want %d", c.reply, c.lineStart, got, c.want)
		}
	}
}
