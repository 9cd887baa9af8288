package nats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func lagOf(t *testing.T, c brokers.Conn, group string, channels ...string) []brokers.Lag {
	t.Helper()
	got, err := c.(brokers.Lagger).Lag(t.Context(), group, channels)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The rights are those that the documentation names, and no others.
func TestAnAccountThatMayMakeNothingUsesWhatAnotherOneHasProvisioned(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: `authorization { users: [
		{ user: all, password: pw },
		{ user: pub, password: pw, permissions: { publish: ["least.>"], subscribe: ["_INBOX.>"] } },
		{ user: sub, password: pw, permissions: {
			publish: ["$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*", "$JS.ACK.>"],
			subscribe: ["_INBOX.>"] } } ] }`})
	at := "@" + server.Addr()
	admin, pub, sub := open(t, "nats+js://all:pw"+at), open(t, "nats+js://pub:pw"+at+"?create=false"), open(t, "nats+js://sub:pw"+at+"?create=false")
	spec := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"least.*"}}
	err := pub.Publish(t.Context(), numbered(0, 1, "least.a"))
	if err == nil || pub.Retryable(err) || !strings.Contains(err.Error(), "create=false") {
		t.Errorf("Publish without a stream: %v", err)
	}
	if err := pub.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{}); err == nil || pub.Retryable(err) {
		t.Errorf("Provision with create=false: %v", err)
	}
	what := brokers.Provision{
		Channels: []string{"least.a"}, Groups: []brokers.GroupProvision{{Group: "g", Channels: spec.Channels}},
	}
	if err := admin.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Channels: what.Channels}); err != nil {
		t.Fatal(err)
	}
	err = sub.Subscribe(t.Context(), spec, newRecorder())
	if err == nil || sub.Retryable(err) || !strings.Contains(err.Error(), `group "g"`) {
		t.Errorf("Subscribe without a consumer: %v", err)
	}
	for range 2 { // the second time changes nothing
		if err := admin.(brokers.Provisioner).Provision(t.Context(), what); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Publish(t.Context(), numbered(0, 10, "least.a")); err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	subscribe(t, sub, r, spec)
	eventually(t, 5*time.Second, "all arrive", func() bool { return r.has("body-0") && r.has("body-9") })
}

func TestTheRightThatIsLackingIsNamedAtOnce(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true, Config: `authorization { users: [ { user: bus, password: pw,
		permissions: { publish: { deny: ["$JS.API.STREAM.CREATE.>"] } } } ] }`})
	c := open(t, "nats+js://bus:pw@"+server.Addr()+"?dial_timeout=30s")
	began := time.Now()
	err := c.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Channels: []string{"lacking.a"}})
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), "$JS.API.STREAM.CREATE.eventbus-lacking") {
		t.Errorf("%v, want the subject that is denied", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

func TestAProvisionedGroupHasAllFromThenOnOrAllThatIsThere(t *testing.T) {
	c := open(t, jetServer(t).JetURL())
	if err := c.Publish(t.Context(), numbered(0, 5, "prov.a")); err != nil {
		t.Fatal(err)
	}
	if err := c.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Groups: []brokers.GroupProvision{
		{Group: "now", Channels: []string{"prov.>"}, Start: brokers.StartNow}, {Group: "first", Channels: []string{"prov.>"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), numbered(5, 5, "prov.a")); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]int{"now": 5, "first": 10} {
		r := newRecorder()
		subscribe(t, c, r, brokers.Subscription{Name: "s", Group: group, Channels: []string{"prov.>"}})
		eventually(t, 5*time.Second, group+" has all", func() bool { return len(r.deliveries()) == want && r.has("body-9") })
	}
}

func TestTheLagOfAGroupIsWhatItHasNotHandled(t *testing.T) {
	server := jetServer(t)
	c := open(t, server.JetURL())
	if got := lagOf(t, c, "g", "lag.a"); len(got) != 0 {
		t.Errorf("of a channel that is not there: %+v", got)
	}
	began := time.Now().Add(-time.Second)
	if err := c.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Groups: []brokers.GroupProvision{
		{Group: "one", Channels: []string{"lag.a"}}, {Group: "all", Channels: []string{"lag.>"}},
	}}); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{7, 5} {
		if err := c.Publish(t.Context(), numbered(10*i, n, fmt.Sprintf("lag.%c", 'a'+i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := lagOf(t, c, "none", "lag.a"); len(got) != 0 {
		t.Errorf("of a group that is not there: %+v", got)
	}
	if got := lagOf(t, c, "one", "lag.a", "lag.b", "lag.c"); len(got) != 1 || got[0].Channel != "lag.a" || got[0].Waiting != 7 ||
		got[0].Pending != 0 || got[0].Oldest.Before(began) || got[0].Oldest.After(time.Now()) {
		t.Errorf("of a group that reads one channel: %+v", got)
	}
	if got := lagOf(t, c, "all", "lag.b", "lag.a"); len(got) != 2 || got[0].Channel != "lag.b" || got[0].Waiting != 5 ||
		got[1].Waiting != 7 || got[1].Pending != 0 || got[1].Oldest.Before(began) {
		t.Errorf("of a group that reads both: %+v", got)
	}
	if got := lagOf(t, open(t, server.JetURL()+"?create=false"), "all", "lag.a"); len(got) != 1 || got[0].Waiting != -1 {
		t.Errorf("of both, without the right to count them apart: %+v", got)
	}
	r := newRecorder()
	r.SettleNothing()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "one", Channels: []string{"lag.a"}})
	eventually(t, 5*time.Second, "all are delivered", func() bool { return len(r.deliveries()) == 7 })
	if got := lagOf(t, c, "one", "lag.a"); got[0].Waiting != 0 || got[0].Pending != 7 || got[0].Oldest.IsZero() {
		t.Errorf("while all are handled: %+v", got)
	}
	for _, d := range r.deliveries() {
		if err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 5*time.Second, "the server has counted the acks, which it reads first", func() bool {
		got := lagOf(t, c, "one", "lag.a")
		return got[0].Pending == 0 && got[0].Oldest.IsZero()
	})
}
