package watermill

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A select chooses at random where several things have come true: each is tried so often that a choice shows.
func TestWhatIsAckedIsAckedAlsoWhereItsTimeIsOver(t *testing.T) {
	f := &feed{late: make(chan struct{})}
	close(f.late)
	for range 200 {
		done, back, none := message.NewMessage("1", nil), message.NewMessage("2", nil), message.NewMessage("3", nil)
		done.Ack()
		back.Nack()
		for msg, want := range map[*message.Message]outcome{done: acked, back: nacked, none: ended} {
			if got := f.outcomeOf(msg); got != want {
				t.Fatalf("%s is %d, want %d", msg.UUID, got, want)
			}
		}
	}
}
