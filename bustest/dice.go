package bustest

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"

	"github.com/eventbus-go/eventbus/brokers"
)

// A dice decides by chance, and the same each time for the same seed and the same events: by their channel, type and key, and how
// many of those came before. Ids are left out, since they differ from run to run, and so is the order between keys, which
// goroutines decide.
type dice struct {
	seed  uint64
	rolls map[face]uint64
}

// A face is what a roll is for.
type face struct {
	rule              int
	channel, typ, key string
}

func newDice(seed uint64) *dice { return &dice{seed: seed, rolls: make(map[face]uint64)} }

// roll returns a number from 0 up to 1 for the next decision of a rule about such a message.
func (d *dice) roll(rule int, m *brokers.Message) float64 {
	f := face{rule, m.Channel, m.Type, m.Key}
	if m.Key == m.ID {
		f.key = ""
	}
	d.rolls[f]++
	h := fnv.New64a()
	var word [8]byte
	for _, v := range []uint64{uint64(f.rule), d.rolls[f]} {
		binary.LittleEndian.PutUint64(word[:], v)
		_, _ = h.Write(word[:])
	}
	for _, s := range []string{f.channel, f.typ, f.key} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(d.seed, h.Sum64())).Float64()
}
