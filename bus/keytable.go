package bus

import "hash/maphash"

// A keyTable has the last item of each key that is held. It is chained through the items, so that an event costs a hash and two
// short walks and no allocation, where a map in which keys come and go takes three times as long.
type keyTable struct {
	seed  maphash.Seed
	heads []*item // of the chains; a power of two
	n     int
}

const keyTableMin = 64

func newKeyTable() keyTable {
	return keyTable{seed: maphash.MakeSeed(), heads: make([]*item, keyTableMin)}
}

func (t *keyTable) headOf(hash uint64) **item { return &t.heads[hash&uint64(len(t.heads)-1)] }

// set makes an item the last of its key, and returns the one that was; nil where there was none.
func (t *keyTable) set(it *item) (before *item) {
	it.hash = maphash.String(t.seed, it.key)
	head := t.headOf(it.hash)
	for at := head; *at != nil; at = &(*at).chain {
		if before = *at; before.hash == it.hash && before.key == it.key {
			it.chain = before.chain
			before.chain = nil
			*at = it
			return before
		}
	}
	it.chain = *head
	*head = it
	if t.n++; t.n > len(t.heads) {
		t.grow()
	}
	return nil
}

// remove forgets the key of an item that is the last of it.
func (t *keyTable) remove(it *item) {
	for at := t.headOf(it.hash); *at != nil; at = &(*at).chain {
		if *at == it {
			*at = it.chain
			it.chain = nil
			t.n--
			return
		}
	}
}

func (t *keyTable) grow() {
	old := t.heads
	t.heads = make([]*item, 2*len(old))
	for _, it := range old {
		for it != nil {
			next := it.chain
			head := t.headOf(it.hash)
			it.chain, *head = *head, it
			it = next
		}
	}
}
