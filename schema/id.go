package schema

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// NewID returns a new event id: a UUID v7 (RFC 9562), which begins with the time in milliseconds. It is safe for
// concurrent use.
func NewID() string {
	s := idSources.Get().(*IDSource)
	defer idSources.Put(s)
	return s.Next()
}

var idSources = sync.Pool{New: func() any { return new(IDSource) }}

// An IDSource makes event ids: UUIDs v7, ascending, at the cost of an allocation per hundred. The zero value is ready.
// It is not safe for concurrent use; ids of several sources are as different from each other as those of one.
type IDSource struct {
	last   int64           // the time and sequence of the id before
	random [512]byte       // cryptographic random numbers, unused ones from random[used:] on
	used   int             // 0 at the beginning too, see fill
	filled bool            // whether random was filled at all
	block  strings.Builder // the ids are cut out of it
}

const (
	idLen      = 36  // a UUID as text
	idsInBlock = 128 // so that who keeps one id of a block keeps 4.5 KiB at most
)

// Next returns a new event id.
func (s *IDSource) Next() string { return s.NextAt(time.Now()) }

// NextAt is Next for who has read the clock already. An id's time is never before that of the id before.
func (s *IDSource) NextAt(now time.Time) string {
	if s.block.Cap()-s.block.Len() < idLen {
		s.block = strings.Builder{} // the old block lives as long as one of its ids
		s.block.Grow(idLen * idsInBlock)
	}
	text, _ := s.next(now.UnixNano()).MarshalText()
	start := s.block.Len()
	s.block.Write(text)
	return s.block.String()[start:]
}

// next is uuid.NewV7FromReader without what that costs here: an allocation for the reader's sake, and a lock that all
// goroutines of the program share. Like there, the 12 bits after the milliseconds are the fraction of the millisecond
// in units of 256 ns (RFC 9562, section 6.2, method 3), raised where the clock has not moved on since the id before.
func (s *IDSource) next(now int64) (id uuid.UUID) {
	const milli, fraction = int64(time.Millisecond), 12
	stamp := max(now/milli<<fraction|now%milli>>8, s.last+1)
	s.last = stamp
	for i := range 6 {
		id[i] = byte(stamp >> (fraction + 40 - 8*i))
	}
	id[6] = 7<<4 | byte(stamp>>8)&0x0f // the version
	id[7] = byte(stamp)
	s.fill(id[8:])
	id[8] = 2<<6 | id[8]&0x3f // the variant
	return id
}

// fill fills p with random numbers out of a buffer, as asking the operating system costs as much for 8 bytes as for
// 512.
func (s *IDSource) fill(p []byte) {
	if !s.filled || s.used+len(p) > len(s.random) {
		rand.Read(s.random[:]) // never fails, by its contract
		s.used, s.filled = 0, true
	}
	s.used += copy(p, s.random[s.used:])
}
