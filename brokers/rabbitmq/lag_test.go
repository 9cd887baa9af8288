package rabbitmq_test

import (
	"slices"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// A queue has what matches its pattern, and nobody can tell its channels apart: it is counted once, whoever asks for how many of
// them.
func TestTheLagIsOfTheChannelOrOnceOfThePattern(t *testing.T) {
	t.Parallel()
	u, _ := fresh(t, server(t))
	c := open(t, u)
	reads := []string{"pool.>", "own.a", "both.*.c", "both.b.*"}
	p := brokers.Provision{Groups: []brokers.GroupProvision{{Group: "g", Channels: reads}, {Group: "other", Channels: []string{"pool.a"}}}}
	if err := c.(brokers.Provisioner).Provision(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for channel, n := range map[string]int{"pool.a": 3, "pool.b": 2, "own.a": 4, "both.b.c": 1, "both.x.c": 1, "unread.a": 5} {
		if err := c.Publish(t.Context(), numbered(0, n, channel)); err != nil {
			t.Fatal(err)
		}
	}
	asked := []string{"own.a", "pool.a", "pool.b", "pool.c", "own.a", "both.b.c", "unread.a"}
	for _, tt := range []struct {
		group string
		asked []string
		want  []brokers.Lag
	}{
		{"g", asked, []brokers.Lag{
			{Channel: "own.a", Waiting: 4, Pending: -1}, {Channel: "both.*.c,both.b.*", Waiting: 2, Pending: -1},
			{Channel: "pool.>", Waiting: 5, Pending: -1},
		}},
		{"g", nil, []brokers.Lag{
			{Channel: "both.*.c,both.b.*", Waiting: 2, Pending: -1}, {Channel: "pool.>", Waiting: 5, Pending: -1},
		}},
		{"other", asked, []brokers.Lag{{Channel: "pool.a", Waiting: 3, Pending: -1}}},
		{"nobody", asked, nil},
	} {
		got, err := c.(brokers.Lagger).Lag(t.Context(), tt.group, tt.asked)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s, asked for %q: %+v, %v; wants %+v", tt.group, tt.asked, got, err, tt.want)
		}
	}
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"pool.>"}})
	eventually(t, 0, "the lag of the pattern is gone", func() bool {
		got, err := c.(brokers.Lagger).Lag(t.Context(), "g", nil)
		return err == nil && len(got) == 2 && got[1].Waiting == 0
	})
}
