package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// minimal is an envelope with nothing but what has to be there.
const minimal = `{"event_id":"1","event_type":"a.b","timestamp":"2025-11-03T14:15:00Z","source":"s","priority":"low","data":{}}`

// with returns minimal with old replaced by new, which has to change it.
func with(t testing.TB, old, new string) string {
	t.Helper()
	s := strings.Replace(minimal, old, new, 1)
	if s == minimal {
		t.Fatalf("%q is not in the envelope", old)
	}
	return s
}

// withMember returns minimal with one more member at the end.
func withMember(member string) string { return minimal[:len(minimal)-1] + "," + member + "}" }

func TestAnEnvelopeIsReadIntoItsEvent(t *testing.T) {
	e := mustDecode(t, envelope)
	at := time.Date(2025, 11, 3, 14, 15, 0, 123456000, time.UTC)
	if e.ID != "0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70" || e.Type != "role.assigned" || e.Time != at ||
		e.Source != "user_service" || e.Priority != High || e.Subject != "user:456" || e.Actor != "user:1" || e.Resource != "" {
		t.Errorf("%+v", e)
	}
	if string(e.Data) != `{"user_id":456,"role_name":"admin","current_roles":["user","admin"]}` {
		t.Errorf("data %s", e.Data)
	}
	if e.Metadata.Len() != 3 || e.Metadata.Text("user_agent") != "Mozilla/5.0 (X11; Linux x86_64)" {
		t.Errorf("metadata %s", e.Metadata.raw)
	}
}

func TestWhatOlderPublishersLeaveOutReadsAsNothing(t *testing.T) {
	want := mustEncode(t, mustDecode(t, minimal))
	for _, member := range []string{
		`"subject":null`, `"subject":""`, `"actor":null`, `"actor":""`, `"resource":null`, `"resource":""`,
		`"metadata":null`, `"metadata":{}`, `"subject":"","actor":"","resource":"","metadata":null`,
	} {
		if got := mustEncode(t, mustDecode(t, withMember(member))); got != want {
			t.Errorf("%s: %s", member, got)
		}
	}
	if !strings.HasSuffix(want, `,"subject":null,"actor":null,"resource":null,"data":{},"metadata":{}}`) {
		t.Errorf("%s", want)
	}
}

func TestWhatIsNoEventIsRefusedWithItsReason(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	var many []string
	for i := range maxUnknown + 1 {
		many = append(many, fmt.Sprintf(`"x%d":1`, i))
	}
	for name, c := range map[string]struct {
		in   string
		want Reason
		says string
	}{
		"nothing":                      {"", ReasonSyntax, "an object"},
		"white space":                  {" \n", ReasonSyntax, "an object"},
		"an array":                     {"[]", ReasonSyntax, "an object"},
		"a string":                     {`"x"`, ReasonSyntax, "an object"},
		"half of it":                   {minimal[:len(minimal)/2], ReasonSyntax, "it ends where"},
		"only a brace":                 {"{", ReasonSyntax, "a key"},
		"an empty object":              {"{}", ReasonMissingField, `"event_id"`},
		"a comma too many":             {with(t, `{}}`, `{},}`), ReasonSyntax, "a key"},
		"a comma in data":              {with(t, `{}}`, `{"a":[1,]}}`), ReasonSyntax, "a value"},
		"no comma":                     {with(t, `,"source"`, `"source"`), ReasonSyntax, "a comma"},
		"no colon":                     {with(t, `"data":`, `"data"`), ReasonSyntax, "a colon"},
		"a key without quotes":         {with(t, `"data"`, `data`), ReasonSyntax, "a key"},
		"a comment":                    {with(t, `{}}`, `/**/{}}`), ReasonSyntax, "a value"},
		"NaN":                          {with(t, `{}}`, `{"a":NaN}}`), ReasonSyntax, "a value"},
		"a word misspelt":              {with(t, `{}}`, `{"a":nul}}`), ReasonSyntax, "null"},
		"a number with a leading 0":    {with(t, `{}}`, `{"a":01}}`), ReasonSyntax, "begins with 0"},
		"a number that is only -":      {with(t, `{}}`, `{"a":-}}`), ReasonSyntax, "a digit"},
		"a number that ends in a dot":  {with(t, `{}}`, `{"a":1.}}`), ReasonSyntax, "a digit"},
		"a number that ends in an e":   {with(t, `{}}`, `{"a":1e+}}`), ReasonSyntax, "a digit"},
		"a control character":          {with(t, `{}}`, "{\"a\":\"\n\"}}"), ReasonSyntax, "a control character"},
		"an unknown escape":            {with(t, `{}}`, `{"a":"\x"}}`), ReasonSyntax, "an escape"},
		"a short escape":               {with(t, `{}}`, `{"a":"\u12"}}`), ReasonSyntax, "four hexadecimal"},
		"an open string":               {minimal + `x`, ReasonTrailingBytes, "follows"},
		"two objects":                  {minimal + minimal, ReasonTrailingBytes, "follows"},
		"a NUL at the end":             {minimal + "\x00", ReasonTrailingBytes, "follows"},
		"bad UTF-8 in data":            {with(t, `{}}`, "{\"a\":\"\xff\"}}"), ReasonUTF8, "not UTF-8"},
		"bad UTF-8 in a key":           {with(t, `{}}`, "{\"\xc0\xaf\":1}}"), ReasonUTF8, "not UTF-8"},
		"bad UTF-8 in the source":      {with(t, `"s"`, "\"\xed\xa0\x80\""), ReasonUTF8, "not UTF-8"},
		"bad UTF-8 cut at the end":     {"{\"\xe2\x82", ReasonUTF8, "not UTF-8"},
		"half a surrogate pair":        {with(t, `{}}`, `{"a":"\ud83d"}}`), ReasonUTF8, "half of a surrogate"},
		"the other half":               {with(t, `{}}`, `{"a":"\ude00"}}`), ReasonUTF8, "half of a surrogate"},
		"two second halves":            {with(t, `{}}`, `{"a":"\ude00\ude00"}}`), ReasonUTF8, "half of a surrogate"},
		"two first halves":             {with(t, `{}}`, `{"a":"\ud83d\ud83d"}}`), ReasonUTF8, "half of a surrogate"},
		"data too deep":                {with(t, `{}}`, deep(MaxDepth)+`}`), ReasonDepth, "64 deep"},
		"an unknown key too deep":      {withMember(`"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), ReasonDepth, "64"},
		"a key twice":                  {withMember(`"event_id":"2"`), ReasonDuplicateKey, `"event_id" is there twice`},
		"a null twice":                 {withMember(`"actor":null,"actor":"user:1"`), ReasonDuplicateKey, `"actor"`},
		"an escaped key twice":         {withMember(`"event\u005fid":"2"`), ReasonDuplicateKey, `"event_id"`},
		"an unknown key twice":         {withMember(`"x":1,"y":2,"x":3`), ReasonDuplicateKey, "twice"},
		"an escaped unknown key twice": {withMember(`"x":1,"\u0078":3`), ReasonDuplicateKey, "twice"},
		"too many unknown keys":        {withMember(strings.Join(many, ",")), ReasonTooLarge, "more than 64"},
		"too long":                     {minimal + strings.Repeat(" ", DefaultMaxBytes), ReasonTooLarge, "at most 1048576"},
		"no event_id":                  {with(t, `"event_id":"1",`, ``), ReasonMissingField, `"event_id"`},
		"the id in capitals":           {with(t, `"event_id"`, `"EVENT_ID"`), ReasonMissingField, `"event_id"`},
		"no event_type":                {with(t, `"event_type":"a.b",`, ``), ReasonMissingField, `"event_type"`},
		"no timestamp":                 {with(t, `"timestamp":"2025-11-03T14:15:00Z",`, ``), ReasonMissingField, `"timestamp"`},
		"no source":                    {with(t, `"source":"s",`, ``), ReasonMissingField, `"source"`},
		"no priority":                  {with(t, `"priority":"low",`, ``), ReasonMissingField, `"priority"`},
		"no data":                      {with(t, `,"data":{}`, ``), ReasonMissingField, `"data"`},
		"an id that is null":           {with(t, `"1"`, `null`), ReasonBadField, "event_id is null"},
		"an id that is a number":       {with(t, `"1"`, `1`), ReasonBadField, "event_id is a number"},
		"an empty id":                  {with(t, `"1"`, `""`), ReasonBadField, "event_id is empty"},
		"an id with a line break":      {with(t, `"1"`, `"1\n"`), ReasonBadField, "event_id contains"},
		"a long id":                    {with(t, `"1"`, `"`+strings.Repeat("1", 129)+`"`), ReasonBadField, "event_id is 129"},
		"an empty source":              {with(t, `"s"`, `""`), ReasonBadField, "source is empty"},
		"a type that is no name":       {with(t, `"a.b"`, `"a..b"`), ReasonBadField, "event_type is no name"},
		"a type with a wildcard":       {with(t, `"a.b"`, `"a.*"`), ReasonBadField, "event_type is no name"},
		"a priority nobody knows":      {with(t, `"low"`, `"LOW"`), ReasonBadField, "priority is none of"},
		"a priority that is a number":  {with(t, `"low"`, `1`), ReasonBadField, "priority is a number"},
		"a time that is none":          {with(t, `14:15`, `25:15`), ReasonBadField, "timestamp is no time"},
		"a time that is a number":      {with(t, `"2025-11-03T14:15:00Z"`, `1762179300`), ReasonBadField, "timestamp is a number"},
		"data that is null":            {with(t, `{}}`, `null}`), ReasonBadField, "data is null"},
		"data that is an array":        {with(t, `{}}`, `[]}`), ReasonBadField, "data is an array"},
		"a subject that is an object":  {withMember(`"subject":{}`), ReasonBadField, "subject is an object"},
		"an actor that is false":       {withMember(`"actor":false`), ReasonBadField, "actor is a boolean"},
		"metadata that is a string":    {withMember(`"metadata":""`), ReasonBadField, "metadata is a string"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Decode([]byte(c.in), 0)
			var de *DecodeError
			if !errors.As(err, &de) {
				t.Fatalf("%.300s: %v", c.in, err)
			}
			if de.Reason != c.want || !strings.Contains(de.Msg, c.says) || de.Offset < 0 || de.Offset > len(c.in) {
				t.Errorf("%.300s: %v, want %s with %q", c.in, err, c.want, c.says)
			}
			if !strings.Contains(err.Error(), string(c.want)) || len(err.Error()) > 700 {
				t.Errorf("the error reads %q", err)
			}
			if e.ID != "" || e.Data != nil {
				t.Errorf("an event comes with the error: %+v", e)
			}
		})
	}
}

func TestTheLimitsThemselvesAreAllowed(t *testing.T) {
	n := MaxDepth - 1 // the envelope is one more
	deepest := strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n)
	var members []string
	for i := range maxUnknown {
		members = append(members, fmt.Sprintf(`"x%d":1`, i))
	}
	for _, text := range []string{
		with(t, `{}}`, deepest+"}"),
		withMember(strings.Join(members, ",")),
		with(t, `"1"`, `"`+strings.Repeat("1", MaxNameLen)+`"`),
		minimal + strings.Repeat(" ", DefaultMaxBytes-len(minimal)),
		"\t\r\n " + minimal + "\n",
	} {
		e := mustDecode(t, text)
		again := mustEncode(t, e)
		mustDecode(t, again)
	}
	if _, err := Decode([]byte(minimal), len(minimal)); err != nil {
		t.Error(err)
	}
	if _, err := Decode([]byte(minimal), len(minimal)-1); err == nil {
		t.Error("a byte too many is not refused")
	}
}

func TestUnknownMembersSurviveInTheirOrder(t *testing.T) {
	e := mustDecode(t, withMember(
		`"zeta": [1, 2] ,"signature":"abc","alpha":{"b":null},"schema_version":2,"EVENT_ID":"x","caf\u00e9":"\u00e9"`))
	want := `,"metadata":{},"schema_version":2,"zeta":[1, 2],"alpha":{"b":null},"EVENT_ID":"x","caf\u00e9":"\u00e9","signature":"abc"}`
	got := mustEncode(t, e)
	if !strings.HasSuffix(got, want) {
		t.Errorf("%s", got)
	}
	if again := mustEncode(t, mustDecode(t, got)); again != got {
		t.Errorf("%s\nafter\n%s", again, got)
	}
	if e.ID != "1" {
		t.Errorf("id %q", e.ID)
	}
}

func TestDataAndMetadataAreKeptByteForByte(t *testing.T) {
	const data = `{ "n":1.50e+2, "s":"\u0041\/", "n":-0 ,"o":{} }`
	const metadata = "{\t\"b\" : [ ], \"a\":\"\\u00e9\" }"
	got := mustEncode(t, mustDecode(t, with(t, `{}}`, data+`,"metadata":`+metadata+`}`)))
	if !strings.Contains(got, `"data":`+data+`,"metadata":`+metadata+`}`) {
		t.Errorf("%s", got)
	}
}

func TestStringsAreUnescaped(t *testing.T) {
	e := mustDecode(t, with(t, `"s"`, `"\"\\\/\u0041\u00e9\u20ac\ud83d\uDE00€"`))
	if e.Source != `"\/Aé€😀€` {
		t.Errorf("%q", e.Source)
	}
	e = mustDecode(t, withMember(`"subject":"\b\f\n\r\t\u0000\u001f"`))
	if e.Subject != "\b\f\n\r\t\x00\x1f" {
		t.Errorf("%q", e.Subject)
	}
	if got := mustEncode(t, e); !strings.Contains(got, `"subject":"\b\f\n\r\t\u0000\u001f"`) {
		t.Errorf("%s", got)
	}
	e = mustDecode(t, with(t, `"priority":"low"`, `"pri\u006frity":"l\u006fw"`))
	if e.Priority != Low {
		t.Errorf("%v", e.Priority)
	}
}

func TestTheEventsStringsDoNotShareTheBody(t *testing.T) {
	body := []byte(envelope)
	e, err := Decode(body, 0)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if e.ID != "0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70" || e.Actor != "user:1" {
		t.Errorf("%q, %q", e.ID, e.Actor)
	}
}

func TestAppendingToDataDoesNotReachIntoTheBody(t *testing.T) {
	body := []byte(envelope)
	e, err := Decode(body, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(e.Data, "junk"...)
	if string(body) != envelope {
		t.Errorf("%s", body)
	}
}

func TestDecodeAllocatesAtMostTwice(t *testing.T) {
	body := []byte(envelope)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Decode(body, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
