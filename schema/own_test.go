package schema

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzOwnLayout compares the reader of envelopes in our own layout with the decoder of any layout.
func FuzzOwnLayout(f *testing.F) {
	for _, s := range append(seeds(f), ownSeeds...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { bothDecode(t, b) })
}

// ownSeeds are envelopes in our own layout, or nearly so.
var ownSeeds = []string{
	envelope,
	strings.Replace(envelope, `"resource":null`, `"resource":""`, 1),
	strings.Replace(envelope, `"user:1"`, `null`, 1),
	envelope[:strings.Index(envelope, `{"ip"`)] + "{}}",
	envelope[:strings.Index(envelope, `{"ip"`)] + "null}",
	strings.Replace(envelope, "0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70", "", 1),
	strings.Replace(envelope, "user_service", strings.Repeat("s", MaxNameLen), 1),
	strings.Replace(envelope, "high", "higher", 1),
	strings.Replace(envelope, "123456Z", "123450Z", 1),
}

// bothDecode checks that what the reader of our own layout accepts is the event that the decoder makes of it.
func bothDecode(t *testing.T, b []byte) {
	t.Helper()
	var own, other Event
	if !decodeOwn(b, &own) {
		if !reflect.DeepEqual(own, Event{}) {
			t.Fatalf("left something behind: %+v: %q", own, b)
		}
		return
	}
	if err := decodeAny(b, &other); err != nil {
		t.Fatalf("accepted, although %v: %q", err, b)
	}
	if own.checked != other.checked || !reflect.DeepEqual(own, other) {
		t.Fatalf("another event:\n%+v\n%+v\n%q", own, other, b)
	}
	if cap(own.Data) != len(own.Data) || cap(own.Metadata.raw) != len(own.Metadata.raw) {
		t.Fatalf("appending to data or metadata would overwrite what follows: %q", b)
	}
}

func TestNoByteOfTheLayoutIsTakenForGranted(t *testing.T) {
	for _, text := range ownSeeds {
		for i := range text {
			bothDecode(t, []byte(text[:i]))
			bothDecode(t, []byte(text[:i]+text[i+1:]))
			for _, other := range []string{" ", `"`, `\`, "\n", "\xff", "é", "0", "a", ":", ",", "{", "}"} {
				bothDecode(t, []byte(text[:i]+other+text[i:]))
				bothDecode(t, []byte(text[:i]+other+text[i+1:]))
			}
		}
	}
}

func TestWhatWeWriteIsReadByItsOwnReader(t *testing.T) {
	for _, text := range []string{envelope, mustEncode(t, mustDecode(t, minimal))} {
		if !decodeOwn([]byte(text), new(Event)) {
			t.Errorf("left to the decoder: %s", text)
		}
	}
	escaped := mustDecode(t, envelope)
	escaped.Subject = `user:"1"`
	if text := mustEncode(t, escaped); decodeOwn([]byte(text), new(Event)) {
		t.Errorf("accepted: %s", text)
	}
}
