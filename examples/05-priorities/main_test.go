package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestTheUrgentGoFirstAndNobodyStarves(t *testing.T) {
	for name, url := range map[string]string{"memory": "memory://", "redis": testbroker.AnyRedis(t).PatientURL()} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), &out, url); err != nil {
				t.Fatal(err)
			}
			_, shipped, ok := strings.Cut(out.String(), "resumed, they are shipped: ")
			got := unroll(t, strings.TrimSpace(shipped))
			if !ok || len(got) != orders {
				t.Fatalf("it says:\n%s", out.String())
			}
			// Of eight in a row one is the one that has waited for longest, whatever its priority.
			urgent := 0
			for _, p := range got[:orders/4] {
				if p == "critical" {
					urgent++
				}
			}
			if urgent < orders/4*7/8-1 || urgent == orders/4 {
				t.Errorf("%d of the first %d are critical: %s", urgent, orders/4, shipped)
			}
			if last := got[orders-1]; last != "low" && last != "normal" {
				t.Errorf("the last one is %s: %s", last, shipped)
			}
		})
	}
}

// unroll reads what runs has written.
func unroll(t *testing.T, s string) (all []string) {
	for _, run := range strings.Split(s, ", ") {
		var n int
		var what string
		if _, err := fmt.Sscanf(run, "%d x %s", &n, &what); err != nil {
			t.Fatalf("%q: %v", run, err)
		}
		all = append(all, slices.Repeat([]string{what}, n)...)
	}
	return all
}
