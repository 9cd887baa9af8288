package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
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
	var r Reading
	read, ok, err := e.AppendRead([]byte("before"), &r)
	if err != nil || !bytes.Equal(read, body) {
		t.Fatalf("%v, %s instead of %s", err, read, body)
	}
	if ok != (e.wire == nil && !escapes(e.ID, e.Type, e.Source, e.Subject, e.Actor, e.Resource)) {
		t.Fatalf("AppendRead: %v of %+v", ok, e)
	}
	if !ok {
		return
	}
	body = bytes.Clone(body[len("before"):])
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

// escapes reports whether one of the texts is written with escape sequences.
func escapes(texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' })
	})
}

// read returns the reading of an event, and what it is encoded to.
func read(t *testing.T, e Event) (r Reading, body []byte) {
	t.Helper()
	body, ok, err := e.AppendRead(nil, &r)
	if err != nil || !ok {
		t.Fatal("no reading", err)
	}
	return r, body
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
	plain := typed
	plain.Subject, plain.Actor, plain.Resource = "user:1", "é\u2028", strings.Repeat("r", 1000)
	escaped := []Event{plain, plain, plain, plain}
	escaped[0].ID, escaped[1].Source, escaped[2].Actor, escaped[3].Resource = "a\"b", "a\\b", "\n", "\x01"
	local := plain
	local.Time, local.Priority, local.Actor = time.Now().In(time.FixedZone("", 7200)), Low, ""
	long := plain
	long.Data = json.RawMessage(`{"text":"` + strings.Repeat("x", 70_000) + `"}`)
	for _, e := range slices.Concat(escaped, []Event{
		typed, plain, local, long, bare, empty, blank, mustDecode(t, envelope), mustDecode(t, minimal),
	}) {
		if err := e.Validate(nil); err != nil {
			t.Fatal(err)
		}
		readsAlike(t, e)
	}
	readsAlike(t, mustDecode(t, withMember(`"signature":"x"`))) // only Decode knows
}

func TestAReadingKeepsTheLimit(t *testing.T) {
	e := mustDecode(t, minimal)
	r, body := read(t, e)
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
	r, body := read(t, e)
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
	r, body := read(t, e)
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

func TestWhatIsTooLongForAReadingHasNone(t *testing.T) {
	e := mustDecode(t, minimal)
	for n, want := range map[int]bool{math.MaxUint16: true, math.MaxUint16 + 1: false} {
		e.Subject = strings.Repeat("s", n)
		if _, ok, err := e.AppendRead(nil, new(Reading)); ok != want || err != nil {
			t.Errorf("a subject of %d bytes: %v, %v", n, ok, err)
		}
	}
}

func TestWhatIsRefusedHasNoReading(t *testing.T) {
	e := mustDecode(t, minimal)
	e.Subject = "\xff"
	got, ok, err := e.AppendRead([]byte("before"), new(Reading))
	if _, want := e.AppendJSON(nil); string(got) != "before" || ok || !reflect.DeepEqual(err, want) {
		t.Errorf("%s, %v, %v", got, ok, err)
	}
}
