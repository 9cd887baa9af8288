package schema

import (
	"encoding/json"
	"testing"
	"time"
)

// plainEvent is what one writes with encoding/json.
type plainEvent struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"event_type"`
	Time     time.Time       `json:"timestamp"`
	Source   string          `json:"source"`
	Priority Priority        `json:"priority"`
	Subject  *string         `json:"subject"`
	Actor    *string         `json:"actor"`
	Resource *string         `json:"resource"`
	Data     json.RawMessage `json:"data"`
	Metadata json.RawMessage `json:"metadata"`
}

type plainData struct {
	UserID int64 `json:"user_id"`
}

func BenchmarkEncode(b *testing.B) {
	e := mustDecode(b, envelope)
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.AppendJSON(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("validate+append", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		f := DefaultForbidden()
		b.ReportAllocs()
		for b.Loop() {
			if err := e.Validate(f); err != nil {
				b.Fatal(err)
			}
			if _, err := e.AppendJSON(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("validate", func(b *testing.B) {
		typed := MustDefine(NewCatalogue("s"), Definition[plainData]{Type: "role.assigned"}).New(plainData{})
		typed.ID, typed.Time, typed.Subject, typed.Actor = e.ID, e.Time, e.Subject, e.Actor
		f := DefaultForbidden()
		b.ReportAllocs()
		for b.Loop() {
			if err := typed.Validate(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("validate-by-hand", func(b *testing.B) {
		byHand := e
		byHand.Data = json.RawMessage(`{"user_id":456,"role_name":"admin","current_roles":["user","admin"]}`)
		f := DefaultForbidden()
		b.ReportAllocs()
		for b.Loop() {
			if err := byHand.Validate(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check-data", func(b *testing.B) {
		byHand := Event{Data: json.RawMessage(`{"user_id":456,"role_name":"admin","current_roles":["user","admin"]}`)}
		f := DefaultForbidden()
		b.ReportAllocs()
		for b.Loop() {
			if err := byHand.checkData(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		var p plainEvent
		if err := json.Unmarshal([]byte(envelope), &p); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	typed := MustDefine(NewCatalogue("s"), Definition[plainData]{
		Type: "role.assigned", Subject: func(p plainData) string { return Ref("user", p.UserID) },
	})
	b.ReportAllocs()
	for b.Loop() {
		e := typed.New(plainData{UserID: 456})
		e.Actor = Ref("user", 1)
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(envelope)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, err := Decode(body, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			var p plainEvent
			if err := json.Unmarshal(body, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReading(b *testing.B) {
	e := mustDecode(b, envelope)
	body := []byte(mustEncode(b, e))
	var r Reading
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			if _, ok, _ := e.AppendRead(body[:0], &r); !ok {
				b.Fatal("no reading")
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			var e Event
			if err := r.Decode(&e, body, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
