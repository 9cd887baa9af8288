package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

// readsAlike checks that the reading of what e is encoded to is the event that Decode makes of it: each field, the
// capacity of what may be appended to, and which memory is known to be right.
func readsAlike(t *testing.T, e Event) {
	t.Helper()
	body, err := e.AppendJSON([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	body = body[len("before"):]
	r, ok := e.Reading(body)
	if ok != (e.wire == nil) {
		t.Fatalf("Reading: %v of %+v", ok, e)
	}
	if !ok {
		return
	}
	body = bytes.Clone(body)
	var got Event
	if err := r.Decode(&got, body, len(body)); err != nil {
		t.Fatal(err)
	}
	want, err := Decode(body, len(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if !reflect.DeepEqual(got, want) || got.checked != want.checked {
		t.Fatalf("another event:\n%+v\n%+v\n%s", got, want, body)
	}
	if cap(got.Data) != len(got.Data) || cap(got.Metadata.raw) != len(got.Metadata.raw) {
		t.Fatalf("appending to data or metadata would overwrite what follows: %s", body)
	}
}

func TestAReadingIsWhatDecodeFinds(t *testing.T) {
	type payload struct {
		Text string `json:"text"`
	}
	typed := MustDefine(NewCatalogue("s"), Definition[payload]{
		Type: "a.b", Priority: Critical, Key: func(payload) string { return "the key is beside the envelope" },
	}).New(payload{"\"é\\\u2028"})
	typed.ID, typed.Time, typed.Subject, typed.Actor = NewID(), time.Now(), `"user:1"`, "é\\\t"
	if err := typed.Metadata.Set("k", []any{1, "x", nil}); err != nil {
		t.Fatal(err)
	}
	bare := Event{ID: "1", Type: "a", Source: "s", Time: time.Date(0, 1, 1, 0, 0, 0, 1, time.FixedZone("", -3600))}
	empty := bare
	empty.Data = json.RawMessage("{}")
	if err := empty.Metadata.UnmarshalJSON([]byte(" {} ")); err != nil {
		t.Fatal(err)
	}
	blank := bare
	if err := blank.Metadata.UnmarshalJSON([]byte("{ }")); err != nil {
		t.Fatal(err)
	}
	for _, e := range []Event{typed, bare, empty, blank, mustDecode(t, envelope), mustDecode(t, minimal)} {
		if err := e.Validate(nil); err != nil {
			t.Fatal(err)
		}
		readsAlike(t, e)
	}
	readsAlike(t, mustDecode(t, withMember(`"signature":"x"`))) // only Decode knows
}

func TestAReadingKeepsTheLimit(t *testing.T) {
	e := mustDecode(t, minimal)
	body := []byte(mustEncode(t, e))
	r, ok := e.Reading(body)
	if !ok {
		t.Fatal("no reading")
	}
	for _, limit := range []int{1, len(body) - 1} {
		err := r.Decode(new(Event), body, limit)
		if de := new(DecodeError); !errors.As(err, &de) || de.Reason != ReasonTooLarge {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	if err := r.Decode(new(Event), body, 0); err != nil {
		t.Error(err)
	}
}

func TestAnotherBodyIsDecoded(t *testing.T) {
	e := mustDecode(t, minimal)
	body := []byte(mustEncode(t, e))
	r, _ := e.Reading(body)
	for _, other := range []string{"", "{}", string(body[:len(body)-1]), envelope} {
		var got Event
		err := r.Decode(&got, []byte(other), 0)
		want, wantErr := Decode([]byte(other), 0)
		got.checked, want.checked = nil, nil // it was two bodies
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
			t.Errorf("%q: %+v, %v", other, got, err)
		}
	}
}

func TestAReadingKeepsNothingOfTheBody(t *testing.T) {
	e := mustDecode(t, envelope)
	body := []byte(mustEncode(t, e))
	r, _ := e.Reading(body)
	one, two := bytes.Clone(body), bytes.Clone(body)
	clear(body)
	var a, b Event
	if err := errors.Join(r.Decode(&a, one, 0), r.Decode(&b, two, 0)); err != nil {
		t.Fatal(err)
	}
	a.Data[0], a.Metadata.raw[0] = 'x', 'x'
	if string(b.Data) != string(e.Data) || string(b.Metadata.raw) != string(e.Metadata.raw) {
		t.Error("two events of one reading share memory")
	}
}
