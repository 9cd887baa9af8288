package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

// A setupError says that a stream or a consumer cannot be had as things are.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// streamKey is what decides on the stream of a channel or pattern: its first token, unless the URL names one stream for
// all of them.
func (s jetSettings) streamKey(channel string) (string, error) {
	if s.stream != "" {
		return "", nil
	}
	token, _, _ := strings.Cut(channel, ".")
	if token == "*" || token == ">" {
		return "", badChannel{fmt.Errorf("pattern %q spans streams, of which there is one for each first token of a channel: "+
			"begin it with a literal token, or name one stream with its subjects in the URL", channel)}
	}
	return token, nil
}

// streamOf returns the name and the subjects of the stream with a key.
func (s jetSettings) streamOf(key string) (name string, subjects []string) {
	if s.stream != "" {
		return s.stream, s.subjects
	}
	return "eventbus-" + key, []string{key, key + ".>"}
}

// ensureStream returns the name of the stream with a key, after creating it where it is not there and may be. A stream
// that somebody else has made for the same subjects, under whatever name, is used as it is.
func (s jetSettings) ensureStream(ctx context.Context, js jetstream.JetStream, key string) (string, error) {
	name, subjects := s.streamOf(key)
	stream, err := js.Stream(ctx, name)
	switch {
	case err == nil:
		return name, s.widen(ctx, js, stream.CachedInfo().Config, subjects)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return "", setupFault(err)
	}
	if other, err := js.StreamNameBySubject(ctx, subjects[len(subjects)-1]); err == nil {
		return other, nil
	}
	if !s.create {
		return "", &setupError{fmt.Errorf("no stream takes %s, and create=false forbids to make one", subjects[len(subjects)-1])}
	}
	if _, err := js.CreateStream(ctx, s.config(name, subjects)); err != nil {
		return "", setupFault(err)
	}
	return name, nil
}

// widen adds the subjects that a stream does not take yet. Nothing else of it is changed.
func (s jetSettings) widen(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig, subjects []string) error {
	var missing []string
	for _, subject := range subjects {
		if !slices.ContainsFunc(c.Subjects, func(has string) bool { return takes(has, subject) }) {
			missing = append(missing, subject)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if !s.create {
		return &setupError{fmt.Errorf("stream %s does not take %s, and create=false forbids to change it", c.Name,
			strings.Join(missing, ", "))}
	}
	c.Subjects = append(slices.Clone(c.Subjects), missing...)
	_, err := js.UpdateStream(ctx, c)
	return setupFault(err)
}

// takes reports whether the subject has, of a stream, covers another one. Subjects that are not of our grammar cover
// nothing but themselves.
func takes(has, subject string) bool {
	if has == subject || has == ">" {
		return true
	}
	p, err := brokers.ParsePattern(has)
	q, err2 := brokers.ParsePattern(subject)
	return err == nil && err2 == nil && p.Covers(q)
}

// setupFault tells what the operator has to change from what passes.
func setupFault(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, natsgo.ErrNoResponders): // nobody listens to JetStream's own subjects
		return &setupError{fmt.Errorf("JetStream is not enabled on this server or for this account: %w", err)}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return &setupError{err}
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500:
		return &setupError{err}
	}
	return err
}
