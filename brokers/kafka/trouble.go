package kafka

import (
	"errors"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// longestPause is the longest wait for what somebody has to mend, such as a group that refuses how its members share.
const longestPause = 10 * time.Second

// judge judges an error that keeps the subscription's partitions from being had, and sets how long to wait. What ends the
// subscription is returned: that the broker refuses this user, and, before it was ever ready, what will not pass. Afterwards
// that is reported once, and tried again ever more seldom, since the service runs and somebody may mend it.
func (k *keeper) judge(err error) error {
	k.s.note(keeping, err)
	switch {
	case retryable(err), errors.Is(err, brokers.ErrClosed):
		k.wait = pauseOnError
		return nil
	case refused(err), !isClosed(k.s.ready):
		return err
	}
	if k.trouble == "" {
		k.wait = pauseOnError
	}
	k.wait = min(2*k.wait, longestPause)
	if k.trouble != err.Error() {
		k.trouble = err.Error()
		k.s.gap(brokers.GapReconnect, -1, err)
	}
	return nil
}

// well notes that the partitions are had: what is published from now on arrives.
func (k *keeper) well() {
	k.trouble = ""
	k.s.note(keeping, nil)
	if !isClosed(k.s.ready) {
		close(k.s.ready)
	}
}
