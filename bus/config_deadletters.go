package bus

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/eventbus-go/eventbus/store/deadletter"
)

// NoDeadLetters is the value of Config.DeadLetters that turns them off: what is given up is logged, counted and told to the
// hooks, and no more.
const NoDeadLetters = "off"

// openedLetters is a store, nil for none, and whether the bus closes it.
type openedLetters struct {
	store deadletter.Store
	owned bool
}

// discard closes a store that is not needed after all.
func (l openedLetters) discard() error {
	if l.owned && l.store != nil {
		return l.store.Close()
	}
	return nil
}

// openLetters opens the store that the configuration asks for, unless one is given; url is the default broker's, empty where it is
// not known. Its errors show no password.
func (c *Config) openLetters(url string, given deadletter.Store) (openedLetters, error) {
	switch {
	case given != nil:
		return openedLetters{store: given}, nil
	case c.DeadLetters == NoDeadLetters:
		return openedLetters{}, nil
	case c.DeadLetters != "":
		s, err := deadletter.Open(c.DeadLetters)
		if err != nil {
			return openedLetters{}, &ConfigError{"dead_letters", "cannot be opened: " + err.Error()}
		}
		return openedLetters{s, true}, nil
	}
	if scheme := schemeOf(url); scheme != "memory" && deadletter.Registered(scheme) {
		s, err := deadletter.Open(url)
		if err != nil {
			return openedLetters{}, fmt.Errorf("dead letters: %w", err)
		}
		return openedLetters{s, true}, nil
	}
	return openedLetters{deadletter.NewMemory(0, 0), true}, nil
}

// keepLetters starts the keeper, where there are dead letters.
func (b *Bus) keepLetters(ctx context.Context, cfg *Config, o *options) {
	b.lettersChosen = cfg.DeadLetters != "" || o.letters != nil && !o.lettersOwned
	if o.letters != nil {
		b.keeper = newKeeper(ctx, b, o.letters, o.lettersOwned)
	}
}

// sayWhereLettersAre logs, when a bus begins to receive, that dead letters end with the process, where nobody asked for that.
func (b *Bus) sayWhereLettersAre() {
	if b.lettersChosen || b.links[0].scheme == "memory" || b.keeper == nil || len(b.subs) == 0 {
		return
	}
	if _, inMemory := b.keeper.store.(*deadletter.Memory); inMemory {
		b.reporter.note("dead letters in memory", slog.LevelWarn, "dead letters are kept in this process only, and end with it: "+
			"set dead_letters to a URL such as redis://localhost:6379 or sqlite:letters.db, to memory:// if that is meant, or to off",
			"at_most", deadletter.DefaultMemoryLetters)
	}
}
