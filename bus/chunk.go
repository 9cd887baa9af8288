package bus

import "github.com/eventbus-go/eventbus/schema"

// chunkBytes is the size of a chunk of queued bodies: about 160 events of the usual 400 bytes share one allocation, and
// a chunk held back by a single event costs no more than this.
const chunkBytes = 64 << 10

// A chunk holds the bodies of queued events. It is reused once all of them are settled, unless a driver may still be
// reading it.
type chunk struct {
	buf     []byte
	refs    int
	tainted bool // a driver may still be reading: never reuse
}

// chunkStore hands out room for bodies. Each priority has a chunk of its own that is being filled: what is evicted is the
// oldest of a priority, so that the dead bytes lie in the oldest chunks and free them whole. It is guarded by its lane.
type chunkStore struct {
	open [4]*chunk
	free []*chunk
	// spare is how many empty chunks are kept for reuse: what a full batch needs, and no more, so that a burst is given back to
	// the garbage collector.
	spare int
}

// put copies body into a chunk and takes a reference to it.
func (s *chunkStore) put(p schema.Priority, body []byte) (*chunk, []byte) {
	slot := &s.open[p-schema.Low]
	c := *slot
	if c == nil || len(c.buf)+len(body) > cap(c.buf) {
		if c != nil && c.refs == 0 {
			s.recycle(c)
		}
		c = s.next(len(body))
		*slot = c
	}
	start := len(c.buf)
	c.buf = append(c.buf, body...)
	c.refs++
	return c, c.buf[start:len(c.buf):len(c.buf)]
}

func (s *chunkStore) next(need int) *chunk {
	if n := len(s.free); n > 0 && need <= chunkBytes {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		return c
	}
	return &chunk{buf: make([]byte, 0, max(need, chunkBytes))}
}

// done gives a reference back.
func (s *chunkStore) done(c *chunk) {
	c.refs--
	if c.refs > 0 {
		return
	}
	for i, open := range s.open {
		if open != c {
			continue
		}
		if !c.tainted {
			c.buf = c.buf[:0] // still being filled: begin again at its start
			return
		}
		s.open[i] = nil
	}
	s.recycle(c)
}

func (s *chunkStore) recycle(c *chunk) {
	if c.tainted || cap(c.buf) != chunkBytes || len(s.free) >= s.spare {
		return
	}
	c.buf = c.buf[:0]
	s.free = append(s.free, c)
}
