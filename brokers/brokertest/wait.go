package brokertest

import "time"

// A countdown is the end of a wait, measured in ticks that came instead of time that passed. Suppose a busy machine lets
// this process rest for a second: nothing could happen meanwhile, so that a wait of a second must not be over either. A
// ticker drops what nobody was there to receive, and the second counts as one tick.
type countdown struct {
	ticker *time.Ticker
	left   int
}

// grain is how exactly the suite waits, and how often it looks at a condition that nobody announces.
const grain = 10 * time.Millisecond

func newCountdown(d time.Duration) *countdown {
	return &countdown{ticker: time.NewTicker(grain), left: max(1, int(d/grain))}
}

// over takes a tick that was received from ticker.C, and reports whether it was the last one.
func (c *countdown) over() bool {
	c.left--
	return c.left <= 0
}

func (c *countdown) stop() { c.ticker.Stop() }

// await reports whether done is closed within d.
func await(done <-chan struct{}, d time.Duration) bool {
	c := newCountdown(d)
	defer c.stop()
	for {
		select {
		case <-done:
			return true
		case <-c.ticker.C:
			if c.over() {
				return isClosed(done)
			}
		}
	}
}
