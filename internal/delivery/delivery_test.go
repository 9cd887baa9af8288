package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

const remedy = "run go run ./internal/delivery > docs/delivery.md"

func TestTheDocumentIsNotStale(t *testing.T) {
	text, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != document(drivers()) {
		t.Errorf("docs/delivery.md does not say what the drivers promise: %s", remedy)
	}
}

func TestEveryPromiseHasWords(t *testing.T) {
	fields := reflect.VisibleFields(reflect.TypeFor[brokers.Capabilities]())
	if len(fields) != len(promises) {
		t.Errorf("there are words for %d promises, and brokers.Capabilities has %d", len(promises), len(fields))
	}
	for i, p := range promises {
		if i < len(fields) && !strings.Contains(document(nil), p.title) {
			t.Errorf("%s is not in the document", p.title)
		}
		if _, is := reflect.TypeFor[brokers.Capabilities]().FieldByName(p.field); !is {
			t.Errorf("brokers.Capabilities has no field %s", p.field)
		}
	}
	for _, d := range drivers() {
		if brokerWords[d.Scheme].what == "" {
			t.Errorf("there are no words for %s://: say what it is in internal/delivery/words.go", d.Scheme)
		}
	}
}

func TestASchemeThatOnlyAddsTLSIsNoBrokerOfItsOwn(t *testing.T) {
	all := []brokers.Driver{
		{Scheme: "redis"}, {Scheme: "rediss"}, {Scheme: "redis+stream"}, {Scheme: "rediss+stream"}, {Scheme: "nats"},
	}
	for scheme, want := range map[string]string{
		"redis": "redis", "rediss": "redis", "rediss+stream": "redis+stream", "nats": "nats", "redis+stream": "redis+stream",
	} {
		if got := withoutTLS(scheme, all); got != want {
			t.Errorf("%s without TLS is %s, want %s", scheme, got, want)
		}
	}
}

func TestADriverThatChangesAPromiseMakesTheDocumentStale(t *testing.T) {
	list := drivers()
	before := document(list)
	list[0].Promises.Durable = !list[0].Promises.Durable
	if document(list) == before {
		t.Error("the document does not depend on what is promised")
	}
}
