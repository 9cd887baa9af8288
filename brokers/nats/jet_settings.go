package nats

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

// jetSettings are the parameters of nats+js URLs.
type jetSettings struct {
	stream   string   // empty: one for each first token of a channel
	subjects []string // of stream
	create   bool
	replicas int
	storage  string
	maxAge   time.Duration
	dedup    time.Duration
	ackWait  time.Duration
	prefetch int
}

// jetDefaults: the lease is the server's own default, and so is the window of the deduplication. A week of retention
// bounds what a forgotten stream takes. 1,024 messages in flight keep a loopback server busy, and are what a subscription of the bus asks for.
func jetDefaults() jetSettings {
	return jetSettings{
		create: true, replicas: 1, storage: "file", maxAge: 7 * 24 * time.Hour, dedup: 2 * time.Minute,
		ackWait: 30 * time.Second, prefetch: 1024,
	}
}

func (s *jetSettings) read(u *brokers.URL) {
	s.stream = u.Param("stream", "")
	if list := u.Param("subjects", ""); list != "" {
		s.subjects = strings.Split(list, ",")
	}
	s.create = u.BoolParam("create", s.create)
	s.replicas = u.IntParam("replicas", s.replicas, 1, 5)
	s.storage = u.Param("storage", s.storage)
	s.maxAge = u.DurationParam("max_age", s.maxAge)
	s.dedup = u.DurationParam("dedup_window", s.dedup)
	s.ackWait = u.DurationParam("ack_wait", s.ackWait)
	s.prefetch = u.IntParam("prefetch", s.prefetch, 1, 1<<20)
}

func (s jetSettings) check() error {
	if (s.stream == "") != (len(s.subjects) == 0) {
		return errors.New("stream and subjects go together: give both or none")
	}
	if strings.ContainsAny(s.stream, ".*>/\\ \t\r\n\x00") || len(s.stream) > 255 {
		return errors.New("stream is no name of a stream: it may have no dot, wildcard, slash and space")
	}
	for _, subject := range s.subjects {
		if _, err := brokers.ParsePattern(subject); err != nil {
			return fmt.Errorf("subjects: %w", err)
		}
	}
	if s.storage != "file" && s.storage != "memory" {
		return errors.New("storage is neither file nor memory")
	}
	if s.ackWait < 100*time.Millisecond {
		return errors.New("ack_wait is under 100ms, which no network can keep up with")
	}
	return nil
}

// config is that of a stream that is created.
func (s jetSettings) config(name string, subjects []string) jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if s.storage == "memory" {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name: name, Subjects: subjects, Storage: storage, Replicas: s.replicas, MaxAge: s.maxAge,
		Duplicates: min(s.dedup, s.maxAge), Discard: jetstream.DiscardOld, AllowDirect: true,
	}
}
