package bus

import "hash/maphash"

// windowSize is how many handled events a subscription remembers, to recognise the copies of an event that arrive on
// other channels. Copies leave in one batch, so that they arrive within milliseconds of each other.
const windowSize = 1 << 15

// A window remembers the ids of the events that a subscription is handling or has handled, up to a bound. An id is
// reserved when its event is begun, and confirmed or released by its outcome. Ids are kept as 128 bits of two hashes with
// random seeds, so that it holds no pointers; two ids in a window of this size collide with a probability below 2^-97.
type window struct {
	seeds [2]maphash.Seed
	known map[idHash]*item // nil for a handled one, else who is handling it
	order []idHash         // of those handled, a ring
	next  int

	// failed has the channel of each known event that was given up. Its copies on other channels are given up with it; what
	// comes on that same channel is no copy but the event again, sent from the dead letters.
	failed map[idHash]string
}

type idHash [2]uint64

func newWindow(size int) *window {
	return &window{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		failed: make(map[idHash]string), known: make(map[idHash]*item), order: make([]idHash, 0, size),
	}
}

func (w *window) hash(id string) idHash {
	return idHash{maphash.String(w.seeds[0], id), maphash.String(w.seeds[1], id)}
}

// reserve begins an event. Where it was handled already, it reports duplicate; where a copy of it is being handled, it
// returns that copy, whose outcome has to be waited for.
func (w *window) reserve(it *item) (duplicate bool, running *item) {
	h := w.hash(it.event.ID)
	running, known := w.known[h]
	switch {
	case !known:
		w.known[h] = it
	case running == nil && w.failed[h] != "" && w.failed[h] == it.source():
		delete(w.failed, h)
		w.known[h] = it
	case running == nil:
		duplicate = true
	}
	return duplicate, running
}

// confirm remembers an event as handled, and forgets the oldest where the window is full.
func (w *window) confirm(id string) {
	h := w.hash(id)
	w.known[h] = nil
	if len(w.order) < cap(w.order) {
		w.order = append(w.order, h)
		return
	}
	delete(w.known, w.order[w.next])
	delete(w.failed, w.order[w.next])
	w.order[w.next] = h
	w.next = (w.next + 1) % len(w.order)
}

// source is the channel of an item, at its broker.
func (it *item) source() string { return it.feed.link.name + "/" + it.channel }

// fail remembers an event as given up, and the source it came from.
func (w *window) fail(id, source string) {
	w.confirm(id)
	w.failed[w.hash(id)] = source
}

// release forgets an event that was begun and not handled: a copy of it is handled like a new one.
func (w *window) release(id string) { delete(w.known, w.hash(id)) }
