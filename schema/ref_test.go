package schema_test

import (
	"testing"

	"github.com/eventbus-go/eventbus/schema"
)

func TestParseRefReadsWhatRefWritesAndNothingElse(t *testing.T) {
	for _, id := range []int64{0, 1, -1, 123, 1<<63 - 1, -1 << 63} {
		if kind, got, ok := schema.ParseRef(schema.Ref("user", id)); !ok || kind != "user" || got != id {
			t.Errorf("%d came back as %s %d %v", id, kind, got, ok)
		}
	}
	for _, ref := range []string{"", "user", "user:", ":1", "user:x", "user:1:2", "user:007", "user:+7", "user: 7", "user:99999999999999999999"} {
		if kind, id, ok := schema.ParseRef(ref); ok {
			t.Errorf("%q was read as %s %d", ref, kind, id)
		}
	}
}
