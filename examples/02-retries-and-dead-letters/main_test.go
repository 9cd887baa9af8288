package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

const want = `five orders, and the mail server is down:
  4 dead letters of cause ID, each after 3 attempts
  1 dead letters of cause ID, each after 1 attempts
the mail server is up again; its letters are sent to the mailer, and to nobody else:
`

func TestTheProgramTellsItsStory(t *testing.T) {
	for name, url := range map[string]string{"memory": "memory://", "redis": testbroker.AnyRedis(t).PatientURL()} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), &out, url); err != nil {
				t.Fatal(err)
			}
			got := regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(out.String(), "ID")
			story, rest, _ := strings.Cut(got, "nobody else:\n")
			for _, user := range []string{"1", "2", "4", "5"} {
				if !strings.Contains(rest, "  mailed user:"+user+"\n") {
					t.Errorf("user %s has no mail: %s", user, got)
				}
			}
			if story+"nobody else:\n" != want || !strings.HasSuffix(rest, "4 sent, 1 left\n") {
				t.Errorf("it says:\n%s", got)
			}
		})
	}
}
