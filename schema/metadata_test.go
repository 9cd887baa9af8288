package schema

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func text(t *testing.T, m Metadata) string {
	t.Helper()
	b, err := m.MarshalJSON()
	if err != nil || !json.Valid(b) {
		t.Fatalf("%s, %v", b, err)
	}
	return string(b)
}

func set(t *testing.T, m *Metadata, key string, value any) {
	t.Helper()
	if err := m.Set(key, value); err != nil {
		t.Fatal(err)
	}
}

func TestTheZeroMetadataIsAnEmptyObject(t *testing.T) {
	var m Metadata
	if text(t, m) != "{}" || m.Len() != 0 || m.Text("a") != "" {
		t.Error("it is not empty")
	}
	if _, ok := m.Get(""); ok {
		t.Error("it has a member")
	}
}

func TestMetadataKeepsItsOrder(t *testing.T) {
	var m Metadata
	set(t, &m, "z", "1")
	set(t, &m, "a", map[string]int{"y": 1, "b": 2})
	set(t, &m, "\"quoted\"\n", []any{nil, true, 1.5})
	set(t, &m, "z", 2)
	if got, want := text(t, m), `{"z":2,"a":{"b":2,"y":1},"\"quoted\"\n":[null,true,1.5]}`; got != want {
		t.Errorf("%s", got)
	}
	if got := slices.Collect(m.Keys()); !slices.Equal(got, []string{"z", "a", "\"quoted\"\n"}) {
		t.Errorf("%q", got)
	}
	if v, ok := m.Get("\"quoted\"\n"); !ok || string(v) != "[null,true,1.5]" {
		t.Errorf("%s", v)
	}
	for range m.Keys() {
		break
	}
}

func TestACopyOfMetadataIsItsOwn(t *testing.T) {
	var m Metadata
	set(t, &m, "a", "1")
	before := text(t, m)
	first, second := m, m
	set(t, &first, "b", "first")
	set(t, &second, "b", "second")
	set(t, &second, "a", "2")
	if text(t, m) != before || text(t, first) != `{"a":"1","b":"first"}` || text(t, second) != `{"a":"2","b":"second"}` {
		t.Errorf("%s, %s, %s", text(t, m), text(t, first), text(t, second))
	}
}

func TestSettingMetadataLeavesTheDecodedBodyAlone(t *testing.T) {
	body := []byte(envelope)
	e, err := Decode(body, 0)
	if err != nil {
		t.Fatal(err)
	}
	set(t, &e.Metadata, "ip", "::1")
	set(t, &e.Metadata, "more", "x")
	if string(body) != envelope {
		t.Errorf("%s", body)
	}
}

func TestMetadataFromElsewhereIsKeptAndRead(t *testing.T) {
	const raw = `{ "a" : "x" , "caf\u00e9" : "\ud83d\ude00", "a" : "last" , "o" : {"a":1} }`
	var m Metadata
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatal(err)
	}
	if m.Text("a") != "last" || m.Text("café") != "😀" || m.Text("o") != "" || m.Len() != 4 || text(t, m) != raw {
		t.Errorf("%q, %q, %s", m.Text("a"), m.Text("café"), text(t, m))
	}
	set(t, &m, "a", "new")
	set(t, &m, "b", 1)
	if m.Text("a") != "new" || !strings.HasSuffix(text(t, m), `"a" : "new" , "o" : {"a":1} ,"b":1}`) {
		t.Errorf("%s", text(t, m))
	}
}

func TestUnmarshalJSONTakesObjectsOnly(t *testing.T) {
	for in, ok := range map[string]bool{
		`{}`: true, `null`: true, ` {"a":1} `: true,
		`[]`: false, `"a"`: false, `1`: false, `true`: false, `{`: false, ``: false, `{}{}`: false, "{\"\xff\":1}": false,
		strings.Repeat(`{"a":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth): false,
	} {
		m := Metadata{raw: []byte(`{"old":1}`)}
		if err := m.UnmarshalJSON([]byte(in)); (err == nil) != ok {
			t.Errorf("%.50s: %v", in, err)
		}
		if !ok && text(t, m) != `{"old":1}` {
			t.Errorf("%.50s: the old value is gone: %s", in, text(t, m))
		}
	}
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("no JSON of mine") }

func TestAValueWithoutJSONIsRefusedAndChangesNothing(t *testing.T) {
	deep := json.RawMessage(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))
	for name, value := range map[string]any{
		"chan": make(chan int), "func": func() {}, "panic": panicking{}, "junk": json.RawMessage("{"), "deep": deep,
		"twice": json.RawMessage(`{"a":1,"a":2}`),
	} {
		var m Metadata
		set(t, &m, "a", "1")
		if err := m.Set(name, value); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if text(t, m) != `{"a":"1"}` {
			t.Errorf("%s: %s", name, text(t, m))
		}
	}
	var m Metadata
	if err := m.Set("\xff", 1); err == nil || m.Len() != 0 {
		t.Errorf("a key that is not UTF-8: %v", err)
	}
}

func TestWhatIsNotUTF8InAValueIsReplaced(t *testing.T) {
	var m Metadata
	set(t, &m, "user_agent", "caf\xe9 \x00\"")
	set(t, &m, "list", []string{"\xff"})
	if m.Text("user_agent") != "caf\ufffd \x00\"" || text(t, m) != `{"user_agent":"caf`+"\ufffd"+` \u0000\"","list":["`+"\ufffd"+`"]}` {
		t.Errorf("%s", text(t, m))
	}
}

func TestATextIsSetAsAnyValueIs(t *testing.T) {
	for _, key := range []string{"a", "new", "\"quoted\"", "\xff"} {
		for _, value := range []string{"", "x", "a \"b\"\n", "é\xff"} {
			var m Metadata
			set(t, &m, "a", 1)
			set(t, &m, "b", "2")
			one, other := m, m
			errOne, errOther := one.SetText(key, value), other.Set(key, json.RawMessage(asJSON(t, value)))
			if (errOne == nil) != (errOther == nil) || text(t, one) != text(t, other) || errOne == nil && one.Text(key) != strings.ToValidUTF8(value, "\ufffd") {
				t.Errorf("%q: %q is %s and %s; %v and %v", key, value, text(t, one), text(t, other), errOne, errOther)
			}
		}
	}
	var m Metadata
	value := strings.Repeat("v", 55)
	if n := testing.AllocsPerRun(100, func() { m = Metadata{}; _ = m.SetText("traceparent", value) }); n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}

func asJSON(t *testing.T, s string) []byte {
	t.Helper()
	b, ok := appendString(nil, strings.ToValidUTF8(s, "\ufffd"))
	if !ok {
		t.Fatal(s)
	}
	return b
}

func TestMetadataOfAMapIsSorted(t *testing.T) {
	m, err := MetadataOf(map[string]any{"b": 1, "a": "x", "t": time.Unix(0, 0).UTC()})
	if err != nil || text(t, m) != `{"a":"x","b":1,"t":"1970-01-01T00:00:00Z"}` {
		t.Errorf("%s, %v", text(t, m), err)
	}
	if m, err := MetadataOf(map[string]any{"a": 1, "b": make(chan int)}); err == nil || m.Len() != 0 {
		t.Errorf("%s, %v", text(t, m), err)
	}
}

// What Set accepts, Decode accepts: the deepest value fits.
func TestTheDeepestMetadataValueCanBeDecoded(t *testing.T) {
	n := MaxDepth - metadataDepth
	e := valid()
	set(t, &e.Metadata, "deep", json.RawMessage(strings.Repeat("[", n)+strings.Repeat("]", n)))
	mustDecode(t, mustEncode(t, e))
}
