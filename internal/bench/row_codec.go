package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/eventbus-go/eventbus/schema"
)

// maxBody is the bus's default limit.
const maxBody = 1 << 20

// codecRows compare the envelope's codec with encoding/json on a struct with json.RawMessage for data and metadata, in
// both directions: the payload stays bytes on both sides. Both encoders return bytes of their own.
func codecRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	event, err := schema.Decode(bodies[0], maxBody)
	if err != nil {
		return nil, err
	}
	var plain envelope
	if err := json.Unmarshal(bodies[0], &plain); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, 1024)
	forbidden := schema.DefaultForbidden()
	runs, err := l.inTurns(ctx,
		l.timed("Encode", func() error {
			_, err := schema.Encode(event)
			return err
		}),
		l.timed("json.Marshal", func() error {
			_, err := json.Marshal(&plain)
			return err
		}),
		l.timed("Validate and AppendJSON", func() error {
			if err := event.Validate(forbidden); err != nil {
				return err
			}
			_, err := event.AppendJSON(buf)
			return err
		}),
		l.timed("Decode", func() error {
			_, err := schema.Decode(bodies[1], maxBody)
			return err
		}),
		l.timed("json.Unmarshal", func() error {
			var p envelope
			return json.Unmarshal(bodies[1], &p)
		}),
	)
	if err != nil {
		return nil, err
	}
	encode, appended := compare(runs[0], runs[1], rateOf), compare(runs[2], runs[1], rateOf)
	decode := compare(runs[3], runs[4], rateOf)
	l.figures[keyEncode], l.figures[keyDecode] = encode.mid, decode.mid
	return []row{
		row{what: "Encode an envelope, data already bytes", got: medians(runs[0]), ratios: encode, base: "json"}.
			need("3 × json", encode.mid >= 3),
		{what: "  as the bus does: validate, append to a buffer", got: medians(runs[2]), ratios: appended, base: "json"},
		baseRow("  json: json.Marshal", runs[1]),
		row{what: "Decode an envelope, data left as bytes", got: medians(runs[3]), ratios: decode, base: "json"}.
			need("3 × json", decode.mid >= 3),
		baseRow("  json: json.Unmarshal", runs[4]),
	}, nil
}

// timed calls f over and over on one goroutine.
func (l *lab) timed(name string, f func() error) side {
	return side{name, func(context.Context) (sample, error) {
		before := mallocs()
		n, start, err := sustain(l.codec, func() (int, error) {
			for range stride {
				if err := f(); err != nil {
					return 0, err
				}
			}
			return stride, nil
		})
		took := since(start)
		s := rateSample(n, took)
		s.mean = float64(took/time.Nanosecond) / float64(n)
		s.allocs = float64(mallocs()-before) / float64(n)
		return s, err
	}}
}
