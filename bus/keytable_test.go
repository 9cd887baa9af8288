package bus

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever comes and goes: the table says what a map would.
func TestAKeyTableIsAMapOfTheLastItems(t *testing.T) {
	table, last := newKeyTable(), make(map[string]*item)
	r := rand.New(rand.NewPCG(1, 2))
	var held []*item
	for step := range 20_000 {
		if r.IntN(20_000) > step { // more at first, then less
			it := &item{key: fmt.Sprint(r.IntN(2000))}
			if got := table.set(it); got != last[it.key] {
				t.Fatalf("step %d: %v was the last of %s, not %v", step, got, it.key, last[it.key])
			}
			last[it.key] = it
			held = append(held, it)
		} else if len(held) > 0 {
			i := r.IntN(len(held))
			it := held[i]
			held[i], held = held[len(held)-1], held[:len(held)-1]
			table.remove(it)
			if last[it.key] == it { // else another one has come, and it is not in the table
				delete(last, it.key)
			}
		}
		if table.n != len(last) {
			t.Fatalf("step %d: %d keys, not %d", step, table.n, len(last))
		}
	}
	if len(table.heads) <= 2*keyTableMin {
		t.Fatalf("the table has not grown twice, but to %d chains", len(table.heads))
	}
	for _, it := range last {
		table.remove(it)
	}
	for _, head := range table.heads {
		if head != nil {
			t.Fatal("an item is left behind")
		}
	}
}

func TestKeysOfOneHashAreApart(t *testing.T) {
	table := newKeyTable()
	first, second := &item{key: "a"}, &item{key: "a"}
	table.set(first)
	first.key = "b" // of the same hash, then
	if before := table.set(second); before != nil {
		t.Errorf("%q was taken for %q", before.key, second.key)
	}
}
