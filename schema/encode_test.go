package schema

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// valid returns an event that may be published.
func valid() Event {
	return Event{
		ID: "1", Type: "a.b", Time: time.Date(2025, 11, 3, 14, 15, 0, 0, time.UTC), Source: "s",
		Data: json.RawMessage(`{"a":1}`),
	}
}

func TestAnEventIsWrittenInTheOrderOfTheContract(t *testing.T) {
	e := valid()
	e.Time = time.Date(2025, 11, 3, 15, 15, 0, 120_000_000, time.FixedZone("CET", 3600))
	want := `{"event_id":"1","event_type":"a.b","timestamp":"2025-11-03T14:15:00.12Z","source":"s","priority":"normal",` +
		`"subject":null,"actor":null,"resource":null,"data":{"a":1},"metadata":{}}`
	if got := mustEncode(t, e); got != want {
		t.Errorf("%s", got)
	}
	e.Data = nil
	if got := mustEncode(t, e); !strings.Contains(got, `"data":{},`) {
		t.Errorf("%s", got)
	}
	if b, err := json.Marshal(valid()); err != nil || string(b) != mustEncode(t, valid()) {
		t.Errorf("json.Marshal: %s, %v", b, err)
	}
	var back Event
	if err := json.Unmarshal([]byte(want), &back); err != nil || mustEncode(t, back) != want {
		t.Errorf("json.Unmarshal: %+v, %v", back, err)
	}
}

func TestStringsAreEscapedAsLittleAsPossible(t *testing.T) {
	e := valid()
	e.Subject = "a\"b\\c/d\b\f\n\r\t\x00\x1f\x7f<>&é\u2028😀, long enough for eight bytes at a time"
	want := `"subject":"a\"b\\c/d\b\f\n\r\t\u0000\u001f` + "\x7f<>&é\u2028😀, long enough for eight bytes at a time\""
	got := mustEncode(t, e)
	if !strings.Contains(got, want) {
		t.Errorf("%s", got)
	}
	if back := mustDecode(t, got); back.Subject != e.Subject {
		t.Errorf("%q", back.Subject)
	}
}

func TestWhatMustNotBePublishedIsRefusedWithFieldAndRemedy(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth)
	for name, c := range map[string]struct {
		change      func(e *Event)
		field, says string
	}{
		"no id":                    {func(e *Event) { e.ID = "" }, "event_id", "is empty, use schema.NewID"},
		"a long id":                {func(e *Event) { e.ID = strings.Repeat("x", 129) }, "event_id", "at most 128"},
		"an id with a NUL":         {func(e *Event) { e.ID = "a\x00" }, "event_id", "control character"},
		"an id that is not UTF-8":  {func(e *Event) { e.ID = "a\xff" }, "event_id", "not UTF-8"},
		"no type":                  {func(e *Event) { e.Type = "" }, "event_type", "empty"},
		"a type that is no name":   {func(e *Event) { e.Type = "User.Created" }, "event_type", "write 'u'"},
		"a type with a wildcard":   {func(e *Event) { e.Type = "user.*" }, "event_type", "wildcard"},
		"no source":                {func(e *Event) { e.Source = "" }, "source", "name the publishing service"},
		"a long source":            {func(e *Event) { e.Source = strings.Repeat("x", 129) }, "source", "at most 128"},
		"an unknown priority":      {func(e *Event) { e.Priority = 3 }, "priority", "schema.Low"},
		"no time":                  {func(e *Event) { e.Time = time.Time{} }, "timestamp", "set Event.Time"},
		"the year 10000":           {func(e *Event) { e.Time = time.Unix(math.MaxInt32<<10, 0) }, "timestamp", "year"},
		"a year before 0":          {func(e *Event) { e.Time = time.Unix(-1<<40, 0) }, "timestamp", "year"},
		"a subject in Latin-1":     {func(e *Event) { e.Subject = "caf\xe9" }, "subject", "not UTF-8"},
		"an actor in Latin-1":      {func(e *Event) { e.Actor = "caf\xe9" }, "actor", "not UTF-8"},
		"a resource in Latin-1":    {func(e *Event) { e.Resource = "caf\xe9" }, "resource", "not UTF-8"},
		"data that is no JSON":     {func(e *Event) { e.Data = json.RawMessage(`{"a"}`) }, "data", "a colon"},
		"data that is null":        {func(e *Event) { e.Data = json.RawMessage(`null`) }, "data", "is null"},
		"data that is an array":    {func(e *Event) { e.Data = json.RawMessage(`[]`) }, "data", "is an array"},
		"data with white space":    {func(e *Event) { e.Data = json.RawMessage(` {}`) }, "data", "a value"},
		"data and more":            {func(e *Event) { e.Data = json.RawMessage(`{}{}`) }, "data", "followed"},
		"data that breaks out":     {func(e *Event) { e.Data = json.RawMessage(`{},"x":{}`) }, "data", "followed"},
		"data that is not UTF-8":   {func(e *Event) { e.Data = json.RawMessage("{\"a\":\"\xff\"}") }, "data", "UTF-8"},
		"data that is too deep":    {func(e *Event) { e.Data = json.RawMessage(deep) }, "data", "64 deep"},
		"data with a key twice":    {func(e *Event) { e.Data = json.RawMessage(`{"a":{"b":1,"b":2}}`) }, "data", "twice"},
		"data with an escaped one": {func(e *Event) { e.Data = json.RawMessage(`{"a":1,"\u0061":2}`) }, "data", "twice"},
		"a secret in data":         {func(e *Event) { e.Data = json.RawMessage(`{"a":[{"apiKey":1}]}`) }, "data", `"apiKey"`},
		"a secret in metadata":     {func(e *Event) { e.Metadata.Set("Authorization", "x") }, "metadata", `"Authorization"`},
		"a secret inside metadata": {func(e *Event) {
			e.Metadata.Set("headers", map[string]any{"reset_token": 1})
		}, "metadata", `"reset_token"`},
		"decoded data that was replaced": {func(e *Event) {
			*e = mustDecode(t, minimal)
			e.Data = json.RawMessage(`{}x`)
		}, "data", "followed"},
		"decoded data that was cut": {func(e *Event) {
			*e = mustDecode(t, envelope)
			e.Data = e.Data[:10]
		}, "data", "ends where"},
	} {
		t.Run(name, func(t *testing.T) {
			e := valid()
			if err := e.Validate(DefaultForbidden()); err != nil {
				t.Fatal(err)
			}
			c.change(&e)
			err := e.Validate(DefaultForbidden())
			var fe *FieldError
			if !errors.As(err, &fe) || fe.Field != c.field || !strings.Contains(fe.Problem, c.says) {
				t.Fatalf("%v, want %s with %q", err, c.field, c.says)
			}
			if fe.Type != e.Type || !strings.Contains(err.Error(), c.field) {
				t.Errorf("the error reads %q", err)
			}
			if b, err := Encode(e); err == nil && !strings.Contains(name, "secret") {
				t.Errorf("Encode makes %s of it", b)
			}
		})
	}
}

func TestANilListForbidsNothing(t *testing.T) {
	e := valid()
	e.Data = json.RawMessage(`{"password":1}`)
	if err := e.Validate(nil); err != nil {
		t.Error(err)
	}
}

func TestAppendJSONLeavesWhatWasThere(t *testing.T) {
	e := valid()
	got, err := e.AppendJSON([]byte("before"))
	if err != nil || string(got) != "before"+mustEncode(t, e) {
		t.Errorf("%s, %v", got, err)
	}
	for _, change := range []func(e *Event){
		func(e *Event) { e.Priority = 9 },
		func(e *Event) { e.Subject = "\xff" },
		func(e *Event) { e.Time = time.Unix(-1<<40, 0) },
		func(e *Event) { e.err = errors.New("kept") },
	} {
		e := valid()
		change(&e)
		if got, err := e.AppendJSON([]byte("before")); err == nil || string(got) != "before" {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestAppendJSONAndValidateDoNotAllocate(t *testing.T) {
	e := mustDecode(t, envelope)
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		if err := e.Validate(DefaultForbidden()); err != nil {
			t.Fatal(err)
		}
		if _, err := e.AppendJSON(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodeAllocatesOnce(t *testing.T) {
	e := mustDecode(t, withMember(`"x":1,"signature":"abc"`))
	if n := testing.AllocsPerRun(100, func() { mustEncode(t, e) }); n > 2 { // the second is the test's string
		t.Errorf("%v allocations", n)
	}
}

func TestTheKeyIsTheTypesElseTheSubjectElseTheID(t *testing.T) {
	e := Event{ID: "id"}
	if e.Key() != "id" {
		t.Errorf("%q", e.Key())
	}
	e.Subject = "user:1"
	if e.Key() != "user:1" {
		t.Errorf("%q", e.Key())
	}
	if f := e.WithKey("k"); f.Key() != "k" || e.Key() != "user:1" {
		t.Errorf("%q, %q", f.Key(), e.Key())
	}
}
