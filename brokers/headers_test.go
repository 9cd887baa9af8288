package brokers_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestHeadersThatNotEveryBrokerCanCarryAreRefused(t *testing.T) {
	long := strings.Repeat("k", 10_000) + " "
	for _, bad := range [][]brokers.Header{
		make([]brokers.Header, brokers.MaxHeaders+1),
		{{Key: ""}},
		{{Key: "good"}, {Key: "a b"}},
		{{Key: "a:b"}},
		{{Key: "a\r\nb"}},
		{{Key: "ä"}},
		{{Key: long}},
		{{Key: strings.Repeat("k", brokers.MaxHeaderKey+1)}},
		{{Key: "a", Value: "b\nc"}},
		{{Key: "a", Value: "b\rc"}},
		{{Key: "a", Value: "b\x00c"}},
	} {
		err := brokers.CheckHeaders(bad)
		if !errors.As(err, new(*brokers.HeaderError)) || len(err.Error()) > 300 {
			t.Errorf("%.40v: %.300v", bad, err)
		}
	}
	full := make([]brokers.Header, brokers.MaxHeaders)
	for i := range full {
		full[i] = brokers.Header{Key: "Az0!#$%&'*+-.^_`|~", Value: "any text, ä\t\x7f"}
	}
	for _, good := range [][]brokers.Header{nil, full, {{Key: "empty"}}, {{Key: strings.Repeat("k", brokers.MaxHeaderKey)}}} {
		if err := brokers.CheckHeaders(good); err != nil {
			t.Errorf("%.40v: %v", good, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = brokers.CheckHeaders(full) }); n > 0 {
		t.Errorf("good headers cost %v allocations", n)
	}
}
