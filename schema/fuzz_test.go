package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// seeds are envelopes, and what is nearly one.
func seeds(f *testing.F) []string {
	f.Helper()
	all := []string{
		envelope, minimal, "", "{}", "[]", "null", `{"event_id":"1"}`, minimal[:40], minimal + "x", " " + minimal + "\n",
		withMember(`"x":1,"signature":"abc","y":[1, 2],"schema_version":2`),
		withMember(`"event\u005fid":"2"`),
		withMember(`"subject":"\ud83d\ude00","actor":"\ud83d","metadata":{ "a" : "\u00e9" }`),
		withMember(`"metadata":` + strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)),
		strings.Replace(minimal, "14:15:00Z", "14:15:00.120+01:00", 1),
		strings.Replace(minimal, "{}}", `{"a":[-0.5e+10,true,false,null,"\"\\\/\b\f\n\r\t"]}}`, 1),
		strings.Replace(minimal, `"s"`, "\"caf\xe9\"", 1),
	}
	files, err := filepath.Glob("userservice/testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// FuzzDecode compares Decode with encoding/json, and with what Encode makes of its events.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		e, err := Decode(b, 0)
		if !bytes.Equal(b, before) {
			t.Fatal("Decode changes what it reads")
		}
		if err != nil {
			if de := err.(*DecodeError); de.Offset < 0 || de.Offset > len(b) || de.Reason == "" || !utf8.ValidString(err.Error()) {
				t.Fatalf("%#v", de)
			}
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("accepted although it is not JSON: %q", b)
		}
		agrees(t, b, e)
		once := mustEncode(t, e)
		again, err := Decode([]byte(once), len(once))
		if err != nil {
			t.Fatalf("what we wrote is refused: %v: %s", err, once)
		}
		if twice := mustEncode(t, again); twice != once {
			t.Fatalf("not a fixed point:\n%s\n%s", once, twice)
		}
		if again.wire != nil && e.wire != nil {
			again.wire.extra, e.wire.extra = nil, nil // they may have been in another order
		}
		again.checked = e.checked
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("another event:\n%+v\n%+v", e, again)
		}
		readsAlike(t, again)
	})
}

// agrees checks an event against what encoding/json reads out of its body, with exact keys.
func agrees(t *testing.T, b []byte, e Event) {
	t.Helper()
	var members map[string]json.RawMessage // of equal keys it keeps the last one, but there are none
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	for key, got := range map[string]string{
		"event_id": e.ID, "event_type": e.Type, "source": e.Source, "priority": e.Priority.String(),
		"subject": e.Subject, "actor": e.Actor, "resource": e.Resource,
	} {
		var want *string
		if raw, ok := members[key]; ok {
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
		if want == nil {
			want = new(string)
		}
		if got != *want {
			t.Fatalf("%s: %q, want %q: %q", key, got, *want, b)
		}
	}
	if !bytes.Equal(e.Data, members["data"]) {
		t.Fatalf("data %q, want %q", e.Data, members["data"])
	}
	var text string
	if err := json.Unmarshal(members["timestamp"], &text); err != nil {
		t.Fatal(err)
	}
	if want, err := time.Parse(time.RFC3339, text); err == nil && !want.Equal(e.Time) {
		t.Fatalf("timestamp %v, want %v", e.Time, want)
	}
	if m := members["metadata"]; m != nil && string(m) != "null" {
		agreesOnMetadata(t, m, e.Metadata)
	}
}

func agreesOnMetadata(t *testing.T, raw json.RawMessage, m Metadata) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	keys := slices.Collect(m.Keys())
	if len(keys) != m.Len() || len(keys) < len(want) {
		t.Fatalf("%d keys, %d members, want %d: %q", len(keys), m.Len(), len(want), raw)
	}
	for key, value := range want {
		if got, ok := m.Get(key); !ok || !bytes.Equal(got, value) {
			t.Fatalf("metadata %q: %q, want %q", key, got, value)
		}
	}
	for _, key := range keys {
		if err := m.Set(key, "new"); err != nil || m.Text(key) != "new" {
			t.Fatalf("metadata %q is not set: %v", key, err)
		}
	}
}

// FuzzEncode checks that what Encode makes of any event is read back as the same event, and that whatever it refuses
// Validate refuses.
func FuzzEncode(f *testing.F) {
	f.Add("1", "a.b", int64(0), "s", int8(0), "user:1", "", "\xff", []byte(`{"a":1}`), "ip", "::1")
	f.Add("\n", "A", int64(1<<62), "", int8(5), "\"\\\x00é\u2028😀", "x", "", []byte(`{"a":1,"a":2}`), "\xff", "\xff")
	f.Add("1", "logout", int64(-1<<62), "é", int8(2), "", "", "", []byte("{},\"x\":{}"), "", "\\u")
	f.Fuzz(func(t *testing.T, id, typ string, at int64, source string, priority int8, subject, actor, resource string,
		data []byte, key, value string) {
		e := Event{
			ID: id, Type: typ, Time: time.Unix(at/1000, at%1000*1_000_001).UTC(), Source: source, Priority: Priority(priority),
			Subject: subject, Actor: actor, Resource: resource, Data: data,
		}
		if err := e.Metadata.Set(key, value); (err == nil) != utf8.ValidString(key) {
			t.Fatalf("%q: %v", key, err)
		}
		b, err := Encode(e)
		if invalid := e.Validate(nil); (err == nil) != (invalid == nil) {
			t.Fatalf("Encode: %v, Validate: %v", err, invalid)
		}
		if err != nil {
			return
		}
		readsAlike(t, e)
		got, err := Decode(b, len(b))
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if len(data) == 0 {
			e.Data = json.RawMessage("{}")
		}
		if e.ID != got.ID || e.Type != got.Type || !e.Time.Equal(got.Time) || e.Source != got.Source ||
			e.Priority != got.Priority || e.Subject != got.Subject || e.Actor != got.Actor || e.Resource != got.Resource ||
			!bytes.Equal(e.Data, got.Data) || !bytes.Equal(e.Metadata.raw, got.Metadata.raw) || got.wire != nil {
			t.Fatalf("another event:\n%+v\n%+v", e, got)
		}
	})
}
