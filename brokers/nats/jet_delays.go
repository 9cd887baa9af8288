package nats

import "time"

// delaysKept bounds what a subscription remembers of what it has sent back: as many as the server lets wait. Of more than that, the
// server alone knows how long it waits.
const delaysKept = maxAckPending

// countsKept is for how long it is remembered that a delivery was none to a handler, where the next one does not come to us.
const countsKept = 10 * time.Minute

// earlyMost is how often a message is sent back because it is early: a consumer that somebody made with a falling backoff knows no
// delays, and would deliver it a hundred times a second.
const earlyMost = 5

// A count tells the deliveries of a message that were attempts from those that no handler has seen, such as those that came early.
type count struct {
	delivered int  // as the server counts
	unseen    int  // of those
	shaken    bool // the clock may have jumped ahead: what others are given of it they send back
}

// next is the count after a further delivery.
func (c count) next(delivered int) count {
	if delivered <= c.delivered { // the consumer was made anew, and counts from one
		return count{delivered: delivered}
	}
	if c.shaken {
		c.unseen += delivered - c.delivered - 1
	}
	c.delivered, c.shaken = delivered, false
	return c
}

// A delay is a message that was sent back to be delivered later.
type delay struct {
	count
	reply string
	due   time.Time // by our own clock, which does not jump
	early int       // how often it came before that
	byDay bool      // it waits for a time of day, which follows the clocks
}

// left is how much longer a message has to wait that is delivered now; 0 for one that a server delivers early again and again. It is
// not sure where others had it meanwhile, who know better unless the clock has jumped.
func (d delay) left(delivered int) (left time.Duration, sure bool) {
	left = time.Until(d.due)
	switch {
	case d.byDay, d.early == earlyMost, left <= redeliverMin:
		return 0, true
	case delivered > d.delivered+1 && !d.shaken:
		return 0, false
	}
	return left, true
}

// recall returns how much longer a message has to wait that has just come, and whether that is known for sure.
func (l *leases) recall(from origin) (wait time.Duration, sure bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byPlace[from.place] != nil {
		return 0, true
	}
	d, known := l.delayed[from.place]
	if !known {
		return 0, false
	}
	return d.left(from.attempt)
}

// back notes that a delivery, which no handler has seen, is sent back because it came early.
func (l *leases) back(from origin, reply string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, known := l.delayed[from.place]
	if !known {
		d.due = time.Now() // for all we know: others may know better
	}
	d.count, d.reply = d.next(from.attempt), reply
	d.unseen++
	d.early++
	d.shaken = true
	l.remember(from.place, d)
}

// backUntil is back for one that waits for its time of day. The first such delivery is counted by its header: see early.
func (l *leases) backUntil(from origin, reply string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.delayed[from.place]
	d.count, d.reply, d.due, d.byDay = d.next(from.attempt), reply, time.Now().Add(wait), true
	if from.attempt > 1 {
		d.unseen++
	}
	l.remember(from.place, d)
}

// remember keeps a delay where there is room; l.mu is held.
func (l *leases) remember(at place, d delay) {
	if _, known := l.delayed[at]; known || len(l.delayed) < delaysKept {
		l.delayed[at] = d
	}
}

// resumed returns the count of a message that is handed on, and forgets its delay; l.mu is held.
func (l *leases) resumed(from origin) count {
	d, known := l.delayed[from.place]
	if !known {
		return count{delivered: from.attempt}
	}
	delete(l.delayed, from.place)
	return d.next(from.attempt)
}

// waiting reports whether anything is known to wait.
func (l *leases) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.delayed) > 0
}

// delays returns what is to be sent after a jump so that each message of a stream waits as long as is left of its delay: see
// putRight.
func (l *leases) delays(stream string, ahead bool, calm time.Time) (out []answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, one := range l.byPlace {
		one.shaken = one.shaken || ahead && at.stream == stream
	}
	for at, d := range l.delayed {
		if at.stream != stream {
			continue
		}
		if ahead {
			d.shaken = true
			l.delayed[at] = d
		}
		switch left := time.Until(d.due); {
		case d.byDay && ahead:
		case left > 0:
			out = append(out, answer{d.reply, nakAfter(max(redeliverMin, left))})
		case !ahead && d.due.After(calm):
			out = append(out, answer{d.reply, ackProgress})
		}
	}
	return out
}

// forgetDue forgets what was due before the look before the last one: whatever it was that kept it has been put right.
func (l *leases) forgetDue(stream string, before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, d := range l.delayed {
		gone := before
		if d.unseen > 0 || d.shaken {
			gone = before.Add(-countsKept)
		}
		if at.stream == stream && d.due.Before(gone) {
			delete(l.delayed, at)
		}
	}
}

// forgetDelays forgets all of a stream that was made anew.
func (l *leases) forgetDelays(stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.delayed {
		if at.stream == stream {
			delete(l.delayed, at)
		}
	}
}

// known counts the messages of a stream that we have, or that wait because we say so.
func (l *leases) known(stream string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.byPlace {
		if at.stream == stream {
			n++
		}
	}
	for at, d := range l.delayed {
		if at.stream == stream && time.Until(d.due) > 0 {
			n++
		}
	}
	return n
}

// unknown returns those of the sequences from..to of a stream that known does not count.
func (l *leases) unknown(stream string, from, to uint64) (out []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq := from; seq <= to; seq++ {
		at := place{stream, seq}
		if time.Until(l.delayed[at].due) <= 0 && l.byPlace[at] == nil {
			out = append(out, seq)
		}
	}
	return out
}
