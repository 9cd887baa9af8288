package kafka

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestAMessageSurvivesItsRecord(t *testing.T) {
	full := brokers.Message{
		ID: "id", Type: "a.b", Channel: "c", Key: "k", Priority: -3, Time: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Headers: []brokers.Header{{Key: "x", Value: ""}, {Key: "eventbus-id", Value: "not ours"}, {Key: "x", Value: "2"}},
		Body:    []byte("body"),
	}
	bare := brokers.Message{Channel: "c", Body: []byte{}}
	r := &records{state: new(atomic.Int32), msgs: []brokers.Message{full, bare}, which: []int32{0, 1}}
	for _, want := range r.msgs {
		rec, err := r.ReadRecord()
		if err != nil {
			t.Fatal(err)
		}
		rec.Time = time.Now()
		got, bad, size, err := new(decoder).decode(rec, "c", 0)
		if err != nil || bad != "" || size != 0 {
			t.Fatalf("%q, %d, %v", bad, size, err)
		}
		same := got.ID == want.ID && got.Type == want.Type && got.Key == want.Key && got.Priority == want.Priority &&
			got.Time.Equal(want.Time) && slices.Equal(got.Headers, want.Headers) && string(got.Body) == string(want.Body)
		if !same {
			t.Errorf("%+v became %+v", want, got)
		}
	}
	if _, err := r.ReadRecord(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last record: %v", err)
	}
}

func TestAForeignRecordHasTheTimeOfItsWriting(t *testing.T) {
	at := time.Now()
	got, bad, _, err := new(decoder).decode(&protocol.Record{Time: at, Value: protocol.NewBytes([]byte("x"))}, "c", 0)
	if err != nil || bad != "" || !got.Time.Equal(at) {
		t.Errorf("%v, %q, %v", got.Time, bad, err)
	}
	if _, bad, _, _ := new(decoder).decode(&protocol.Record{Time: at}, "c", 0); bad != brokers.ReasonForeign {
		t.Errorf("a record without a value is %q", bad)
	}
}

func TestNothingIsReadOnceTheCallerGaveUp(t *testing.T) {
	r := &records{state: new(atomic.Int32), msgs: []brokers.Message{{Body: []byte("x")}}, which: []int32{0}}
	r.state.Store(abandoned)
	if _, err := r.ReadRecord(); !errors.Is(err, errAbandoned) {
		t.Errorf("the client was given a record: %v", err)
	}
}
