package nats

import (
	"context"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The server keeps, of each delivery that is not settled, when it was made, or such a time that what was sent back is due a lease
// later, and compares that with its wall clock. Where that clock jumps an hour ahead, all of it is due when the server looks next,
// within a lease; where it jumps back, it is due an hour late.
//
// So the members of a group compare how far the server's clock has moved between two looks with how far their own has, which is
// monotonic. One that finds a jump tells the server again, of each delivery that it has and of each that it has sent back, how long
// that has to wait from now on, and goes on to do so until all others have, too: one puts right what another one could not know.
//
// Suppose the clock jumps ahead, and the server hands to B what A has sent back for half an hour, before either of them has looked. B
// knows nothing of it but that it comes again, and so looks before it hands it on. Having found the jump, B sends it back for a
// lease. Within that, A looks, and tells the server how much of half an hour is left.
//
// Suppose the clock jumps back, and A is dead. B prolongs whatever lies between the first message that is not settled and the last
// that was delivered and that it does not know: what A had comes a lease later. What C has sent back is due by then, too, but
// for C, which tells the server again how long it has to wait.

const (
	// jumpMin is how much less or more than our own clock the server's has to move to have jumped. What is less is a
	// delay that is so much too long or too short.
	jumpMin = 5 * time.Second
	// freeAfter is when what nobody knows is freed: all others have found the jump by then.
	freeAfter = 5 * time.Second
	// freeMost bounds how many messages are looked at for that, the last ones that were delivered.
	freeMost = 1 << 17
)

// A reading is one look at the server's clock.
type reading struct {
	sent, got time.Time // when, by our own clock
	server    time.Time // what it said
}

// jumped returns how far the server's clock has moved since an earlier reading beyond our own; 0 for next to nothing, and for one
// that there is no earlier reading of. A server that was frozen meanwhile has not jumped: how long the replies took is not
// known to have passed between the readings, or not to.
func (r reading) jumped(last reading) time.Duration {
	if last.got.IsZero() {
		return 0
	}
	moved, least, most := r.server.Sub(last.server), r.sent.Sub(last.got), r.got.Sub(last.sent)
	if moved >= least-jumpMin && moved <= most+jumpMin {
		return 0
	}
	return moved - least
}

// A jolt is a jump of the server's clock, while what it has done is put right.
type jolt struct {
	found time.Time // zero for none
	ahead bool
	free  bool // what nobody knows is still to be freed
}

// within reports whether a jolt was found less than d ago.
func (j jolt) within(d time.Duration) bool { return !j.found.IsZero() && time.Since(j.found) < d }

// unsafe reports whether what comes again may be early: the server looks within a lease at what is due.
func (j jolt) unsafe(lease time.Duration) bool { return j.ahead && j.within(lease+freeAfter) }

// shakes reports whether a jump may still be put right by others such that we have to say again what we know.
func (j jolt) shakes(lease time.Duration) bool { return j.within(2 * (lease + freeAfter)) }

// readClock takes over a reading, and reports a jump.
func (f *feed) readClock(r reading) (jumped time.Duration) {
	if r.server.IsZero() { // a server before 2.10
		return 0
	}
	jumped = r.jumped(f.clock)
	if jumped != 0 {
		f.jolt = jolt{found: time.Now(), ahead: jumped > 0, free: jumped < 0}
	}
	f.clock = r
	return jumped
}

// look asks for a consumer's state and for the server's clock, and puts right what a jump has done.
func (m *member) look(ctx context.Context, s *session, js jetstream.JetStream, f *feed) error {
	calm := f.clock.got
	info, jumped, err := f.poll(ctx, js)
	if err != nil {
		return err
	}
	if jumped != 0 {
		m.renew(s)
		m.putRight(s, f, calm)
	}
	if f.jolt.free && !f.jolt.within(freeAfter) {
		f.jolt.free = false
		m.free(s, f, info)
	}
	m.leases.forgetDue(f.stream, calm)
	return nil
}

// lease is how long the server waits for a delivery to be settled.
func (f *feed) lease() time.Duration {
	if f.settings.AckWait > 0 {
		return f.settings.AckWait
	}
	return f.set.ackWait
}

// putRight tells the server how much is left of each delay. What has become due since the clock was last found right may be with
// another member by now: its lease begins anew, which harms neither that member nor, for long, the message.
func (m *member) putRight(s *session, f *feed, calm time.Time) {
	for _, a := range m.leases.delays(f.stream, f.jolt.ahead, calm) {
		if s.nc.Publish(a.reply, a.text) != nil {
			return // the session is over, and the next one goes on
		}
	}
}

// remind tells the server again, where others may have told it otherwise because they do not know.
func (m *member) remind(s *session) {
	for _, f := range m.feeds {
		if f.jolt.shakes(f.lease()) {
			m.putRight(s, f, time.Now())
		}
	}
}

// free begins the leases anew of what nobody may be there to settle: the server takes no notice of what is settled.
func (m *member) free(s *session, f *feed, info *jetstream.ConsumerInfo) {
	if info.NumAckPending <= m.leases.known(f.stream) {
		return
	}
	to := info.Delivered.Stream
	from := max(info.AckFloor.Stream, to-min(to, freeMost)) + 1
	prefix, suffix := "$JS.ACK."+f.stream+"."+f.name+".1.", "."+strconv.FormatUint(info.Delivered.Consumer, 10)+".0.0"
	for _, seq := range m.leases.unknown(f.stream, from, to) {
		msg := natsgo.Msg{Subject: prefix + strconv.FormatUint(seq, 10) + suffix, Data: ackProgress}
		if s.nc.PublishMsg(&msg) != nil {
			return
		}
	}
}
