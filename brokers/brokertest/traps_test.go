package brokertest

import (
	"os"
	"strings"
	"testing"
)

func TestTheTrapsNameCasesThatExist(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, c := range Cases() {
		names[c.Name] = true
	}
	traps := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "-") || cells[2] == " case " {
			continue
		}
		traps++
		if name := strings.TrimSpace(cells[2]); !names[name] {
			t.Errorf("there is no case %q", name)
		}
	}
	if traps < 40 {
		t.Errorf("%d traps are listed", traps)
	}
}
