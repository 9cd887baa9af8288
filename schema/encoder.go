package schema

import (
	"bytes"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxPooledBytes is the largest buffer that is kept for the next payload.
const maxPooledBytes = 64 << 10

// A payloadEncoder is what encoding a T needs, kept so that it is not allocated each time.
type payloadEncoder[T any] struct {
	value T
	flat  []flatField // of value; nil where T is the codec's
	buf   []byte      // for flat
	out   bytes.Buffer
	enc   *jsontext.Encoder
	block []byte // payloads are cut out of it
}

// Payloads of up to a quarter of a block share it, so that making one does not allocate. Who keeps one payload keeps
// blockBytes at most.
const blockBytes = 4 << 10

// own returns a copy of data, in memory that nobody else uses.
func (e *payloadEncoder[T]) own(data []byte) []byte {
	if len(data) > blockBytes/4 {
		return bytes.Clone(data)
	}
	if cap(e.block)-len(e.block) < len(data) {
		e.block = make([]byte, 0, blockBytes) // the old block lives as long as one of its payloads
	}
	start := len(e.block)
	e.block = append(e.block, data...)
	return e.block[start:len(e.block):len(e.block)]
}

func newPayloadEncoder[T any]() *payloadEncoder[T] {
	e := new(payloadEncoder[T])
	e.flat = flatFields(reflect.ValueOf(&e.value))
	e.enc = jsontext.NewEncoder(&e.out, encodeOptions)
	return e
}

// small reports whether e is worth keeping.
func (e *payloadEncoder[T]) small() bool { return cap(e.buf)+e.out.Cap() <= maxPooledBytes }

// encode returns p as JSON, in memory that is not used again.
func (e *payloadEncoder[T]) encode(p T) ([]byte, error) {
	var zero T
	e.value = p
	data, err := e.encodeValue()
	e.value = zero // keeps nothing of the caller's alive
	return data, err
}

func (e *payloadEncoder[T]) encodeValue() ([]byte, error) {
	if e.flat != nil {
		if data, ok := appendFlat(e.buf[:0], e.flat); ok {
			e.buf = data
			return e.own(data), nil
		}
	}
	e.out.Reset()
	e.enc.Reset(&e.out, encodeOptions)
	if err := json.MarshalEncode(e.enc, &e.value); err != nil {
		return nil, err
	}
	return e.own(bytes.TrimSuffix(e.out.Bytes(), []byte("\n"))), nil
}
