package schema

import (
	"encoding/json"
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
		e := Event{Data: json.RawMessage(in)}
		if err := e.checkData(nil); (err != nil) != want {
			t.Errorf("%s: %v", in, err)
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

func TestAForbiddenKeyIsFoundWhereverItStands(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"k%d":0`, i))
	}
	f := NewForbidden("token")
	for in, want := range map[string]bool{
		`{}`:                           false,
		`{"a":"token"}`:                false,
		`{"token":1}`:                  true,
		`{"a":[{"b":{"my_token":1}}]}`: true,
		`{ "a" : 1, "token" : 2 }`:     true,
		`{"a":1,"t\u006fken":2}`:       true,
		`{"a":{"x":1},"b":{"x":1}}`:    false,
		`{"a":{"x":1},"b":{"x":1},"t":[{"token":1}]}`: true,
		"{" + strings.Join(many, ",") + "}":           false,
		"{" + strings.Join(many, ",") + `,"token":1}`: true,
	} {
		e := Event{Data: json.RawMessage(in)}
		if err := e.checkData(f); (err != nil) != want {
			t.Errorf("data %s: %v", in, err)
		}
		if _, _, found := f.findIn([]byte(in)); found != want {
			t.Errorf("metadata %s: %v", in, found)
		}
	}
}
