package schema

import (
	"fmt"
	"strings"
	"testing"
)

func TestAKeyThatAnObjectHasTwiceIsFound(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"k%d":0`, i))
	}
	for in, want := range map[string]bool{
		`{}`:                                false,
		`{"a":1,"b":2}`:                     false,
		`{"a":1,"a":2}`:                     true,
		`{"a":{"a":{"a":1}}}`:               false,
		`{"a":[{"b":1},{"b":2}]}`:           false,
		`{"a":[{"b":1},{"b":2,"b":3}]}`:     true,
		`{"a":"a","b":"a"}`:                 false,
		`{"a":1,"\u0061":2}`:                true,
		"{" + strings.Join(many, ",") + "}": false,
		"{" + strings.Join(many, ",") + `,"k39":1` + "}": true,
	} {
		if got := hasKeyTwice([]byte(in)); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestWhatWasAllowedOnceDoesNotLetAnotherKeyThrough(t *testing.T) {
	f := NewForbidden("token", "pin")
	for range 3 {
		for _, length := range []int{1, 3, 5, 20, 64, 65, 200} {
			for c := 'a'; c <= 'z'; c++ { // every place of the memory
				f.allows([]byte(strings.Repeat(string(c), length)))
			}
		}
		for key, want := range map[string]bool{"token": false, "pin": false, "user_token": false, "pint": true, "": true, "tokenised": true} {
			if got := f.allows([]byte(key)); got != want {
				t.Errorf("%q is allowed: %v, want %v", key, got, want)
			}
		}
	}
}
