package kafka

import "time"

// A topic is tried with larger batches limitFirst after it refused one, and each time that it refuses those, too, after twice as
// long, up to limitLongest: that costs a batch that is sent twice.
const (
	limitFirst   = 30 * time.Second
	limitLongest = 10 * time.Minute
)

// batchLimits are how many bytes a batch may have, of topics that have refused one. What a topic takes is its max.message.bytes,
// which the user need not be allowed to ask for, and which may be raised while we run.
type batchLimits struct {
	most    int // of any batch
	first   time.Duration
	byTopic map[string]*batchLimit
}

// A batchLimit is the limit of one topic.
type batchLimit struct {
	bytes int
	probe int       // what a larger batch may have that was not answered yet; 0 for none
	due   time.Time // of the next probe
	wait  time.Duration
}

func (l *batchLimits) init(most int, first time.Duration) {
	l.most, l.first, l.byTopic = most, first, make(map[string]*batchLimit)
}

// next returns how many bytes the next batch of a topic may have. Once in a while that is twice as many as are known to be taken.
func (l *batchLimits) next(topic string, now time.Time) int {
	t := l.byTopic[topic]
	if t == nil {
		return l.most
	}
	if now.Before(t.due) {
		return t.bytes
	}
	t.probe, t.due = min(2*t.bytes, l.most), now.Add(t.wait)
	return t.probe
}

// refused notes that a topic refused a batch. Those to come have half of it at most, or one message.
func (l *batchLimits) refused(topic string, size int, now time.Time) {
	t := l.byTopic[topic]
	switch {
	case t == nil:
		l.byTopic[topic] = &batchLimit{bytes: size / 2, due: now.Add(l.first), wait: l.first}
	case size <= t.bytes:
		t.bytes, t.probe, t.due = size/2, 0, now.Add(t.wait)
	case t.probe > 0:
		t.wait = min(2*t.wait, limitLongest)
		t.probe, t.due = 0, now.Add(t.wait)
	}
}

// taken notes that a topic took a batch. One that is larger than the limit raises it; if that was tried for, the next one may be
// larger still.
func (l *batchLimits) taken(topic string, size int) {
	t := l.byTopic[topic]
	if t == nil {
		return
	}
	if size <= t.bytes {
		if t.probe > 0 { // there was not enough to send: the next batch tries
			t.probe, t.due = 0, time.Time{}
		}
		return
	}
	if size >= l.most-l.most/8 { // what is full is a message less than the limit
		delete(l.byTopic, topic)
		return
	}
	t.bytes = size
	if t.probe > 0 {
		t.probe, t.due, t.wait = 0, time.Time{}, l.first
	}
}
