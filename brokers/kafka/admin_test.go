package kafka_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func provision(ctx context.Context, c brokers.Conn, p brokers.Provision) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.(brokers.Provisioner).Provision(ctx, p)
}

// allow lets KafkaLeastUser do things; name and kind are of what.
func allow(t *testing.T, server *testbroker.Kafka, kind kafkago.ResourceType, name string, what ...kafkago.ACLOperationType) {
	t.Helper()
	client := clientOf(t, server)
	req := &kafkago.CreateACLsRequest{}
	for _, op := range what {
		req.ACLs = append(req.ACLs, kafkago.ACLEntry{
			Principal: "User:" + testbroker.KafkaLeastUser, PermissionType: kafkago.ACLPermissionTypeAllow, Operation: op,
			ResourceType: kind, ResourcePatternType: kafkago.PatternTypeLiteral, ResourceName: name, Host: "*",
		})
	}
	r, err := client.CreateACLs(t.Context(), req)
	if err = errors.Join(append(r.Errors, err)...); err != nil {
		t.Fatal(err)
	}
}

func leastURL(server *testbroker.Kafka) string {
	return "kafka://" + testbroker.KafkaLeastUser + ":" + testbroker.KafkaPassword + "@" + server.SASLAddr() + quick
}

func leastPrivilege(t *testing.T, server *testbroker.Kafka) {
	const channel, group = "least.a", "least"
	c := openURL(t, leastURL(server)+"&create=false")
	err := c.Publish(t.Context(), numbered(channel, 1, 1))
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), channel) || !strings.Contains(err.Error(), "create=false") {
		t.Errorf("Publish to a topic that is not there: %v", err)
	}
	r := &recorder{ready: make(chan struct{})}
	spec := brokers.Subscription{Name: "s", Group: group, Channels: []string{channel}}
	if err := c.Subscribe(t.Context(), spec, r); err == nil || c.Retryable(err) || !strings.Contains(err.Error(), channel) {
		t.Errorf("Subscribe to a topic that is not there: %v", err)
	}
	admin := openURL(t, server.URL()+quick)
	what := brokers.Provision{
		Channels: []string{channel}, Groups: []brokers.GroupProvision{{Group: group, Channels: []string{"least.*"}}},
	}
	for range 2 { // the second time changes nothing
		if err := provision(t.Context(), admin, what); err != nil {
			t.Fatal(err)
		}
	}
	allow(t, server, kafkago.ResourceTypeTopic, channel, kafkago.ACLOperationTypeWrite, kafkago.ACLOperationTypeRead)
	allow(t, server, kafkago.ResourceTypeGroup, group, kafkago.ACLOperationTypeRead)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	eventually(t, "the account may publish", func() bool { return publish(t.Context(), c, numbered(channel, 20, 4)...) == nil })
	go func() { done <- c.Subscribe(ctx, spec, r) }()
	eventually(t, "all arrive", func() bool { return r.distinct() == 20 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.(brokers.Lagger).Lag(t.Context(), group, []string{channel}); err != nil {
		t.Errorf("Lag: %v", err)
	}
}

func lacking(t *testing.T, server *testbroker.Kafka) {
	c := openURL(t, leastURL(server))
	err := provision(t.Context(), c, brokers.Provision{Channels: []string{"lacking.a"}})
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), "lacking.a") || !strings.Contains(err.Error(), "CREATE") {
		t.Errorf("Provision without the right to create topics: %v", err)
	}
	admin := openURL(t, server.URL()+quick)
	if err := provision(t.Context(), admin, brokers.Provision{Channels: []string{"lacking.b"}}); err != nil {
		t.Fatal(err)
	}
	allow(t, server, kafkago.ResourceTypeTopic, "lacking.b", kafkago.ACLOperationTypeRead)
	err = provision(t.Context(), c, brokers.Provision{Groups: []brokers.GroupProvision{{Group: "lacking", Channels: []string{"lacking.b"}}}})
	if err == nil || c.Retryable(err) || !strings.Contains(err.Error(), `group "lacking"`) || !strings.Contains(err.Error(), "READ") {
		t.Errorf("Provision without the right to read as a group: %v", err)
	}
	err = provision(t.Context(), openURL(t, server.URL()+"?create=false"), brokers.Provision{Channels: []string{"lacking.c"}})
	if err == nil || !strings.Contains(err.Error(), "create=false") {
		t.Errorf("Provision with create=false: %v", err)
	}
}

func provisioned(t *testing.T, server *testbroker.Kafka) {
	c := openURL(t, server.URL()+quick)
	before, after := numbered("provisioned.a", 6, 6), numbered("provisioned.a", 12, 6)[6:]
	if err := publish(t.Context(), c, before...); err != nil {
		t.Fatal(err)
	}
	if err := provision(t.Context(), c, brokers.Provision{Groups: []brokers.GroupProvision{
		{Group: "provisioned-now", Channels: []string{"provisioned.>"}, Start: brokers.StartNow},
		{Group: "provisioned-first", Channels: []string{"provisioned.>"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), c, after...); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]int{"provisioned-now": 6, "provisioned-first": 12} {
		r := &recorder{ready: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		// What the subscription says of its start is about a group that does not exist.
		spec := brokers.Subscription{Group: group, Channels: []string{"provisioned.>"}, Start: brokers.StartNow}
		go func() { done <- c.Subscribe(ctx, spec, r) }()
		eventually(t, group+" has all", func() bool { return r.distinct() >= want })
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := r.ids(); len(got) != want || want == 6 && slices.Min(got) != after[0].ID {
			t.Errorf("%s got %q", group, got)
		}
	}
}

func lag(t *testing.T, server *testbroker.Kafka) {
	const n, stuck = 30, 3
	c := openURL(t, server.URL()+quick)
	began := time.Now().Add(-time.Second)
	if err := publish(t.Context(), c, numbered("lag.a", n, 6)...); err != nil {
		t.Fatal(err)
	}
	lagOf := func() (got []brokers.Lag) {
		eventually(t, "the lag is known", func() (ok bool) { // the first group of a cluster waits for its coordinator
			var err error
			if got, err = c.(brokers.Lagger).Lag(t.Context(), "lag", []string{"lag.none", "lag.a"}); err != nil && !c.Retryable(err) {
				t.Fatal(err)
			}
			return err == nil
		})
		return got
	}
	if got := lagOf(); len(got) != 0 {
		t.Errorf("a group that does not exist has the lag %+v", got)
	}
	if err := provision(t.Context(), c, brokers.Provision{Groups: []brokers.GroupProvision{{Group: "lag", Channels: []string{"lag.a"}}}}); err != nil {
		t.Fatal(err)
	}
	got := lagOf()
	if len(got) != 1 || got[0].Channel != "lag.a" || got[0].Waiting != n || got[0].Pending != -1 ||
		got[0].Oldest.Before(began) || got[0].Oldest.After(time.Now()) {
		t.Errorf("before anything was read: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r := &recorder{ready: make(chan struct{})}
	go func() { done <- c.Subscribe(ctx, brokers.Subscription{Group: "lag", Channels: []string{"lag.a"}}, r) }()
	eventually(t, "the lag is gone", func() bool { return lagOf()[0].Waiting == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := lagOf(); !got[0].Oldest.IsZero() {
		t.Errorf("after all was settled: %+v", got)
	}
	again := brokers.GroupProvision{Group: "lag", Channels: []string{"lag.a"}}
	if err := provision(t.Context(), c, brokers.Provision{Groups: []brokers.GroupProvision{again}}); err != nil || lagOf()[0].Waiting != 0 {
		t.Errorf("a group that has its place is provisioned again: %+v, %v", lagOf(), err)
	}
}

func made(t *testing.T, server *testbroker.Kafka) {
	c := openURL(t, server.URL()+"?partitions=5&replication=1")
	if err := publish(t.Context(), c, numbered("made.a", 1, 1)...); err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, server)
	r, err := client.Metadata(t.Context(), &kafkago.MetadataRequest{Topics: []string{"made.a"}})
	if err != nil || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 5 || len(r.Topics[0].Partitions[0].Replicas) != 1 {
		t.Errorf("%+v, %v; wants 5 partitions with a replica each", r, err)
	}
	err = provision(t.Context(), openURL(t, server.URL()+"?replication=2"), brokers.Provision{Channels: []string{"made.b"}})
	if err == nil || !strings.Contains(err.Error(), "made.b") || !errors.Is(err, kafkago.InvalidReplicationFactor) {
		t.Errorf("two replicas on one broker: %v", err)
	}
}

func smaller(t *testing.T, server *testbroker.Kafka) {
	r, err := clientOf(t, server).CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: "smaller.a", NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafkago.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "20000"}},
	}}})
	if err == nil {
		err = r.Errors["smaller.a"]
	}
	if err != nil {
		t.Fatal(err)
	}
	msgs := numbered("smaller.a", 40, 40)
	for i := range msgs {
		msgs[i].Body = make([]byte, 3000)
	}
	msgs[7].Body = make([]byte, 30_000)
	if got := publishInParts(t, openURL(t, server.URL()+quick), msgs); len(got) != 1 || got[0] != msgs[7].ID {
		t.Errorf("%q are rejected, wants %s, which is too large", got, msgs[7].ID)
	}
}

func clientOf(t *testing.T, server *testbroker.Kafka) *kafkago.Client {
	transport := &kafkago.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafkago.Client{Addr: kafkago.TCP(server.Addr()), Timeout: patience, Transport: transport}
}

func overTLS(t *testing.T, server *testbroker.Kafka) {
	m := brokers.Message{Channel: "secured", Body: []byte("x")}
	files := server.TLS()
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		at := "@" + server.SecureAddr() + quick + "&sasl=" + mechanism + "&tls_ca=" + files.CA
		if err := publish(t.Context(), openURL(t, "kafka://"+testbroker.KafkaUser+":"+testbroker.KafkaPassword+at), m); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		bad := openURL(t, "kafka://"+testbroker.KafkaUser+":wr0ng"+at)
		if err := publish(t.Context(), bad, m); err == nil || bad.Retryable(err) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
	}
	// The service trusts nobody that the broker knows, until the file is replaced.
	ca := t.TempDir() + "/ca.pem"
	replace := func(from string) {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, ca, string(text))
	}
	replace(testbroker.NewTLSFiles(t).CA)
	t.Setenv("EVENTBUS_TEST_KAFKA_PASSWORD", testbroker.KafkaPassword)
	c := openURL(t, "kafka://"+testbroker.KafkaUser+"@"+server.SecureAddr()+quick+
		"&sasl=scram-sha-512&password_env=EVENTBUS_TEST_KAFKA_PASSWORD&tls_ca="+ca)
	if err := publish(t.Context(), c, m); err == nil || c.Retryable(err) {
		t.Errorf("a server of another authority: %v", err)
	}
	replace(files.CA)
	eventually(t, "the authority that the file has now is trusted", func() bool { return publish(t.Context(), c, m) == nil })
}
