package bus

// Pause keeps the subscription from handing out events until Resume. What is being handled goes on, with its attempts in place;
// what is held stays held and counts as no attempt, and what waits for its next attempt goes on waiting. It may be called at any
// time, before Run too; on a subscription that is paused it does nothing.
//
// The subscription goes on to take in what it may hold (Prefetch), and then nothing: a durable broker keeps the rest, and drivers
// prolong the leases of what is held. On one that is not durable, what does not fit is dropped by the driver and reported as a gap
// with a count. A shutdown while it is paused gives back what is held, unhandled, or drops it as DropShutdown where the broker takes
// nothing back.
func (s *Sub) Pause() { s.c.sched.halt() }

// Resume ends a Pause, and the Paused of a Subscription. On a subscription that is not paused it does nothing. It may be called at
// any time.
func (s *Sub) Resume() { s.c.sched.unhalt() }

func (s *scheduler) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = true
}

func (s *scheduler) unhalt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = false
	s.wakeReady()
}

// stands reports whether no item is to be taken now. In a shutdown, items of a subscription that is halted are taken to be given
// back.
func (s *scheduler) stands() bool { return s.paused > 0 || s.halted && !s.draining }

// wakeReady gets a worker going where there is something for it to take.
func (s *scheduler) wakeReady() {
	if !s.ready.empty() {
		s.wakeOne()
	}
}
