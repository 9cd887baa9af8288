package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// A topic is what is known of one: the partitions 0 to n-1 and the broker that leads each.
type topic struct {
	ids     []int
	leaders []int32
}

// cluster knows the topics. The client keeps the metadata of the whole cluster and renews it every metadata_ttl at the
// latest; cluster keeps them in a form that is quick to look things up in.
type cluster struct {
	c *conn

	mu      sync.Mutex
	topics  map[string]*topic
	loaded  time.Time
	renewed time.Time
	brokers int // how many there are
	few     shortage
	limits  batchLimits

	creating chan struct{} // held by the one who creates topics
}

// How long a copy of the client's metadata is used, and how often at most the client is made to forget its own.
const (
	copyTTL    = time.Second
	renewEvery = time.Second
)

func (k *cluster) init(c *conn) {
	k.c = c
	k.creating = make(chan struct{}, 1)
	k.limits.init(c.set.maxBytes+overhead, limitFirst)
}

// all returns all topics. Nobody modifies the map.
func (k *cluster) all(ctx context.Context) (map[string]*topic, error) {
	k.mu.Lock()
	topics, age := k.topics, time.Since(k.loaded)
	k.mu.Unlock()
	if topics != nil && age < copyTTL {
		return topics, nil
	}
	return k.load(ctx)
}

func (k *cluster) load(ctx context.Context) (map[string]*topic, error) {
	r, err := ask[*metadata.Response](ctx, k.c, &metadata.Request{})
	if err != nil {
		k.renew()
		return nil, err
	}
	topics := make(map[string]*topic, len(r.Topics))
	for i := range r.Topics {
		if t := readTopic(&r.Topics[i]); t != nil {
			topics[r.Topics[i].Name] = t
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.topics, k.loaded, k.brokers = topics, time.Now(), len(r.Brokers)
	return topics, nil
}

// readTopic returns nil for a topic that is internal or not usable yet.
func readTopic(r *metadata.ResponseTopic) *topic {
	if r.IsInternal || r.ErrorCode != 0 || len(r.Partitions) == 0 {
		return nil
	}
	t := &topic{ids: make([]int, len(r.Partitions)), leaders: make([]int32, len(r.Partitions))}
	for i := range r.Partitions {
		id := int(r.Partitions[i].PartitionIndex)
		if id >= len(t.ids) {
			return nil
		}
		t.ids[i], t.leaders[id] = i, r.Partitions[i].LeaderID
	}
	return t
}

// renew makes the client forget its metadata, so that the next request waits for new ones. Requests that are under way
// are not disturbed.
func (k *cluster) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.renewed) < renewEvery {
		return
	}
	k.renewed, k.loaded = time.Now(), time.Time{}
	k.c.client.CloseIdleConnections()
}

// ensure returns the topics, which have all the names; it creates those that are missing, unless create is off. The errors
// of those that it could not have are in the map.
func (k *cluster) ensure(ctx context.Context, names []string) (map[string]*topic, map[string]error, error) {
	topics, err := k.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(missing(topics, names)) == 0 {
		return topics, nil, nil
	}
	select {
	case k.creating <- struct{}{}:
		defer func() { <-k.creating }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if topics, err = k.load(ctx); err != nil { // somebody else may have created them meanwhile
		return nil, nil, err
	}
	gone := missing(topics, names)
	if len(gone) == 0 {
		return topics, nil, nil
	}
	failed, err := k.create(ctx, gone)
	if err != nil {
		return nil, nil, err
	}
	if topics, err = k.load(ctx); err != nil {
		return nil, nil, err
	}
	if err := k.awaitLeaders(ctx, topics, gone); err != nil {
		return nil, nil, err
	}
	for _, name := range missing(topics, gone) {
		if failed[name] == nil {
			failed[name] = kafkago.UnknownTopicOrPartition
		}
		failed[name] = missingTopic(name, k.c.set.create, failed[name])
	}
	return topics, failed, nil
}

// leaderPoll is how often a new topic's leaders are asked whether they are.
const leaderPoll = 10 * time.Millisecond

// awaitLeaders waits until the partitions of new topics can be used. A broker tells who will lead a partition some
// milliseconds before that broker itself knows, and refuses what is produced until then.
func (k *cluster) awaitLeaders(ctx context.Context, topics map[string]*topic, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, k.c.set.requestTimeout)
	defer cancel()
	defer context.AfterFunc(k.c.life, cancel)()
	var places []tp
	for _, name := range names {
		if t := topics[name]; t != nil {
			for _, id := range t.ids {
				places = append(places, tp{name, id})
			}
		}
	}
	for {
		_, err := k.c.offsets(ctx, places, kafkago.LastOffset)
		if code, coded := codeOf(err); err == nil || coded && !passing[code] {
			return err
		}
		t := time.NewTimer(leaderPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// batchLimit returns how many bytes a batch of a topic may have.
func (k *cluster) batchLimit(topic string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.limits.next(topic, time.Now())
}

// tooLarge notes that a topic refused a batch of size bytes for its size.
func (k *cluster) tooLarge(topic string, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits.refused(topic, size, time.Now())
}

// fits notes that a topic took a batch of size bytes.
func (k *cluster) fits(topic string, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits.taken(topic, size)
}

func missing(topics map[string]*topic, names []string) []string {
	var out []string
	for _, name := range names {
		if topics[name] == nil {
			out = append(out, name)
		}
	}
	return out
}

// create creates topics and waits until the client knows them.
func (k *cluster) create(ctx context.Context, names []string) (map[string]error, error) {
	failed := make(map[string]error)
	if !k.c.set.create {
		return failed, nil
	}
	req := &createtopics.Request{TimeoutMs: int32(k.c.set.requestTimeout.Milliseconds())}
	for _, name := range names {
		req.Topics = append(req.Topics, createtopics.RequestTopic{
			Name: name, NumPartitions: int32(k.c.set.partitions), ReplicationFactor: int16(k.c.set.replication),
		})
	}
	r, err := ask[*createtopics.Response](ctx, k.c, req)
	if err != nil {
		return nil, err
	}
	var known []string
	for i := range r.Topics {
		err := k.judge(codeError(r.Topics[i].ErrorCode))
		switch {
		case errors.Is(err, kafkago.TopicAlreadyExists):
			known = append(known, r.Topics[i].Name)
		case err != nil:
			failed[r.Topics[i].Name] = err
		}
	}
	if len(known) > 0 {
		// The client waits for the topics that it created, and for others only where it is told that they may be created.
		_, err = ask[*metadata.Response](ctx, k.c, &metadata.Request{TopicNames: known, AllowAutoTopicCreation: true})
	}
	return failed, err
}

// ping asks for a reply over the network: metadata come from the client's memory.
func (k *cluster) ping(ctx context.Context) error {
	if _, err := k.load(ctx); err != nil {
		return err // the client never reached a broker; a wrong password shows here only
	}
	r, err := ask[*apiversions.Response](ctx, k.c, &apiversions.Request{})
	if err != nil {
		return err
	}
	return codeError(r.ErrorCode)
}
