package schema

import "testing"

// envelope is an event as other services publish it, 392 bytes long.
const envelope = `{"event_id":"0198f1c2-7d3e-7c4a-9b52-3f6a1d2e8c70","event_type":"role.assigned",` +
	`"timestamp":"2025-11-03T14:15:00.123456Z","source":"user_service","priority":"high","subject":"user:456",` +
	`"actor":"user:1","resource":null,"data":{"user_id":456,"role_name":"admin","current_roles":["user","admin"]},` +
	`"metadata":{"ip":"203.0.113.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64)","correlation_id":"c-7f3a9"}}`

func mustDecode(t testing.TB, text string) Event {
	t.Helper()
	e, err := Decode([]byte(text), 0)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func mustEncode(t testing.TB, e Event) string {
	t.Helper()
	b, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatWeWroteSurvivesDecodeAndEncodeByteForByte(t *testing.T) {
	if got := mustEncode(t, mustDecode(t, envelope)); got != envelope {
		t.Errorf("got  %s\nwant %s", got, envelope)
	}
}
