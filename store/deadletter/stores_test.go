package deadletter_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/store/deadletter"
	"github.com/eventbus-go/eventbus/store/redis"
	"github.com/eventbus-go/eventbus/store/sqlite"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// letter is the nth: every second one of subscription b, each a second after the one before, of three causes.
func letter(n int) deadletter.Letter {
	l := deadletter.Letter{
		Rev: fmt.Sprint("rev", n), Subscription: string(rune('a' + n%2)), Channel: "x.all", Broker: "redis", EventID: fmt.Sprint("event-", n),
		EventType: "a.b", Key: fmt.Sprint("user:", n), Priority: 1, Time: start, Trace: "00-1-2-01", Body: fmt.Appendf(nil, "{\"n\":%d}\xff\x00", n),
		Reason: deadletter.ReasonFailed, Error: fmt.Sprintf("no. %d: cause %c", n, 'A'+n%3), Attempts: 2,
		History: []deadletter.Attempt{{Number: 1, At: start, Error: "x"}}, First: start, Last: start.Add(time.Duration(n) * time.Second),
	}
	l.Size = len(l.Body)
	l.Fingerprint = deadletter.Fingerprint(l.EventType, l.Error)
	l.SetID()
	return l
}

func letters(from, to int) (out []deadletter.Letter) {
	for n := from; n < to; n++ {
		out = append(out, letter(n))
	}
	return out
}

// stores runs a test on every store, each with room for 1,500 letters.
func stores(t *testing.T, test func(t *testing.T, s deadletter.Store)) {
	for name, open := range map[string]func(t *testing.T) (deadletter.Store, error){
		"memory": func(*testing.T) (deadletter.Store, error) { return deadletter.Open("memory://?max=1500") },
		"redis": func(t *testing.T) (deadletter.Store, error) {
			opt, err := goredis.ParseURL(testbroker.AnyRedis(t).URL())
			if err != nil {
				return nil, err
			}
			client := goredis.NewClient(opt)
			return redis.NewDeadLetters(client, 1500, client.Close), nil
		},
		"sqlite": func(t *testing.T) (deadletter.Store, error) {
			return deadletter.Open("sqlite:" + filepath.Join(t.TempDir(), "a b", "..", "letters.db") + "?max_letters=1500")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test(t, s)
		})
	}
}

func put(t *testing.T, s deadletter.Store, l ...deadletter.Letter) {
	t.Helper()
	if err := s.Put(t.Context(), l...); err != nil {
		t.Fatal(err)
	}
}

func all(t *testing.T, s deadletter.Store, q deadletter.Query) (ids []string) {
	t.Helper()
	for l, err := range deadletter.List(t.Context(), s, q) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.EventID)
	}
	return ids
}

func TestALetterIsKeptAsItWasWritten(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		if st, err := s.Stats(t.Context()); err != nil || st != (deadletter.Stats{}) {
			t.Errorf("an empty store says %+v, %v", st, err)
		}
		put(t, s, letters(0, 3)...)
		got, err := deadletter.Show(t.Context(), s, letter(1).ID)
		if want := letter(1); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
		if _, err := deadletter.Show(t.Context(), s, "none"); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("a letter that is not there: %v", err)
		}
		st, err := s.Stats(t.Context())
		if err != nil || st.Depth != 3 || !st.Oldest.Equal(start) {
			t.Errorf("three letters: %+v, %v", st, err)
		}
	})
}

func TestPagesAreInTheOrderOfTheLastFailure(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		const n = 1234
		in := letters(0, n)
		for i := range in {
			in[i].Last = start.Add(time.Duration(i/7) * time.Millisecond) // several at a moment
		}
		put(t, s, in[n/2:]...)
		put(t, s, in[:n/2]...)
		seen := make(map[string]bool)
		last := time.Time{}
		for l, err := range deadletter.List(t.Context(), s, deadletter.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if l.Last.Before(last) || seen[l.ID] {
				t.Fatalf("%s of %v comes after %v, or again", l.EventID, l.Last, last)
			}
			seen[l.ID], last = true, l.Last
		}
		if len(seen) != n {
			t.Errorf("%d letters were listed of %d", len(seen), n)
		}
	})
}

// Suppose a letter is read to be sent again, its event fails again and the letter is written anew, and then what was read is
// removed: that would lose the event.
func TestALetterThatWasWrittenAgainIsNotRemovedByWhoReadTheOldOne(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		old, again := letter(0), letter(0)
		again.Rev, again.Last, again.Attempts = "new", start.Add(time.Hour), 9
		put(t, s, old, letter(1))
		put(t, s, again)
		if n, err := s.Remove(t.Context(), old, letter(1), letter(2)); n != 1 || err != nil {
			t.Errorf("%d were removed, %v; want letter 1 alone", n, err)
		}
		got, err := deadletter.Show(t.Context(), s, old.ID)
		if err != nil || got.Attempts != 9 {
			t.Errorf("got %+v, %v", got, err)
		}
		if ids := all(t, s, deadletter.Query{}); !slices.Equal(ids, []string{"event-0"}) {
			t.Errorf("the store lists %v", ids)
		}
		if n, err := s.Remove(t.Context(), got); n != 1 || err != nil {
			t.Errorf("%d were removed, %v", n, err)
		}
		if st, err := s.Stats(t.Context()); err != nil || st.Depth != 0 {
			t.Errorf("an empty store says %+v, %v", st, err)
		}
	})
}

func TestAStoreIsBounded(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		for n := 0; n < 1500; n += 500 {
			put(t, s, letters(n, n+500)...)
		}
		put(t, s, letter(0)) // in the place of itself
		_, inMemory := s.(*deadletter.Memory)
		err := s.Put(t.Context(), letter(1500))
		if inMemory != (err == nil) || !inMemory && !errors.Is(err, deadletter.ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		st, err := s.Stats(t.Context())
		if err != nil || st.Depth != 1500 || st.Evicted != 0 && !inMemory || inMemory && st.Evicted != 1 {
			t.Errorf("a full store says %+v, %v", st, err)
		}
	})
}

// A line has its letters in the order in which they were written first, whatever becomes of them; and behind nothing there is nothing.
func TestALineKeepsItsOrder(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		lines, ok := s.(deadletter.LineStore)
		if !ok {
			t.Skip("only for stores that keep lines")
		}
		inLine := func(n int) deadletter.Letter {
			l := letter(n)
			l.Subscription, l.Key, l.KeepOrder = "s", "user:1", true
			l.Last = start.Add(-time.Duration(n) * time.Hour) // a clock that goes back
			l.SetID()
			return l
		}
		behind := func(l deadletter.Letter) bool {
			t.Helper()
			stands, err := lines.PutBehind(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			return stands
		}
		check := func(what string, limit int, want ...int) {
			t.Helper()
			line, err := lines.Line(t.Context(), "s", "user:1", limit)
			var got []string
			for _, l := range line {
				got = append(got, l.EventID)
			}
			var ids []string
			for _, n := range want {
				ids = append(ids, letter(n).EventID)
			}
			if err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s: the line is %v, %v, want %v", what, got, err, ids)
			}
		}
		if behind(inLine(1)) {
			t.Error("a letter was put behind nothing")
		}
		check("no line", 9)
		other := inLine(7)
		other.Key, other.KeepOrder = "user:1", false
		put(t, s, inLine(0), other)
		for n := 1; n < 5; n++ {
			if !behind(inLine(n)) {
				t.Errorf("letter %d was not put behind the first", n)
			}
		}
		check("five letters", 9, 0, 1, 2, 3, 4)
		check("two of them", 2, 0, 1)
		again := inLine(0)
		again.Rev, again.Last, again.Error = "again", start.Add(time.Hour), "again"
		put(t, s, again)
		check("the first was written again", 9, 0, 1, 2, 3, 4)
		late := inLine(0)
		late.Rev, late.Reason = "late", deadletter.ReasonBehind
		if !behind(late) {
			t.Error("the first does not stand in its line")
		}
		if l, err := lines.Line(t.Context(), "s", "user:1", 1); err != nil || len(l) != 1 || l[0].Error != "again" {
			t.Errorf("a letter that stood there was replaced: %+v, %v", l, err)
		}
		if n, err := s.Remove(t.Context(), inLine(0), inLine(2)); n != 1 || err != nil {
			t.Errorf("%d were removed, %v; want that which was not written again", n, err)
		}
		check("the third is gone", 9, 0, 1, 3, 4)
		if _, err := s.Remove(t.Context(), again, inLine(1), inLine(3), inLine(4)); err != nil {
			t.Fatal(err)
		}
		check("all are gone", 9)
		if behind(inLine(5)) {
			t.Error("a letter was put behind nothing")
		}
		put(t, s, inLine(0))
		var fill []deadletter.Letter
		for n := 10; n < 1508; n++ {
			fill = append(fill, letter(n))
		}
		put(t, s, fill...)
		if _, inMemory := s.(*deadletter.Memory); !inMemory {
			if _, err := lines.PutBehind(t.Context(), inLine(6)); !errors.Is(err, deadletter.ErrFull) {
				t.Errorf("one too many: %v", err)
			}
		}
	})
}

// A write does not count all letters; whoever removed some by hand, past the store, has them counted again.
func TestATableFromWhichLettersWereRemovedByHandHasRoomAgain(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "letters.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := sqlite.NewDeadLetters(db, 10, nil)
	put(t, s, letters(0, 10)...)
	put(t, s, letters(3, 5)...) // in the place of themselves
	if _, err := s.Remove(t.Context(), letters(0, 2)...); err != nil {
		t.Fatal(err)
	}
	put(t, s, letters(10, 12)...)
	if err := s.Put(t.Context(), letter(12)); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM eventbus_dead_letters WHERE id = $1", letter(7).ID); err != nil {
		t.Fatal(err)
	}
	put(t, s, letter(12))
	if err := s.Put(t.Context(), letter(13)); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("one too many again: %v", err)
	}
	again := sqlite.NewDeadLetters(db, 11, nil) // another process, on the table that is there
	put(t, again, letter(13))
	if st, err := again.Stats(t.Context()); st.Depth != 11 || err != nil {
		t.Errorf("it says %+v, %v", st, err)
	}
}

func TestGroupsShowTheCausesByTheirNumber(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		put(t, s, letters(0, 8)...)
		groups, err := deadletter.Groups(t.Context(), s, deadletter.Query{Since: start.Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range groups {
			got = append(got, fmt.Sprint(g.Count, " ", g.Example.Error, " ", g.Subscriptions))
		}
		slices.Sort(got) // two groups are of one size
		want := []string{"2 no. 6: cause A [a b]", "2 no. 5: cause C [a b]", "3 no. 7: cause B [a b]"}
		slices.Sort(want)
		if !slices.Equal(got, want) || groups[0].Count != 3 {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestPurgeRemovesWhatIsMeant(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		put(t, s, letters(0, 6)...)
		n, err := deadletter.Purge(t.Context(), s, deadletter.Query{Subscriptions: []string{"b"}, Until: start.Add(5 * time.Second)})
		if got := all(t, s, deadletter.Query{}); n != 2 || err != nil || !slices.Equal(got, []string{"event-0", "event-2", "event-4", "event-5"}) {
			t.Errorf("%d, %v were purged; left are %v", n, err, got)
		}
	})
}

// A store that removes nothing keeps a redrive from sending more than it has begun: what it sends now it sends again.
func TestARedriveEndsWhereItsStoreRemovesNothing(t *testing.T) {
	s := stuckStore{deadletter.NewMemory(0, 0)}
	put(t, s, letters(0, 1000)...)
	sent := 0
	to := func(_ context.Context, letters []deadletter.Letter) error { sent += len(letters); return nil }
	r, err := deadletter.Redrive(t.Context(), s, to, deadletter.RedriveOptions{Batch: 100})
	if !errors.Is(err, errStuck) || r.Sent != sent || sent > 300 {
		t.Errorf("%d were sent, %+v, %v", sent, r, err)
	}
	if n := len(all(t, s, deadletter.Query{})); n != 1000 {
		t.Errorf("%d letters are left, want all", n)
	}
}

type stuckStore struct{ *deadletter.Memory }

var errStuck = errors.New("it is stuck")

func (stuckStore) Remove(context.Context, ...deadletter.Letter) (int, error) { return 0, errStuck }

// Interrupted at any point and called again, a redrive has sent everything, and what failed again is there.
func TestARedriveThatIsInterruptedResumes(t *testing.T) {
	stores(t, func(t *testing.T, s deadletter.Store) {
		put(t, s, letters(0, 250)...)
		broken := letter(900)
		broken.Size = 1 << 20 // it was cut short
		put(t, s, broken)
		sent := make(map[string]int)
		calls := 0
		to := deadletter.ToChannel(func(ctx context.Context, msgs []brokers.Message) error {
			if calls++; calls == 2 {
				return errors.New("the broker is away")
			}
			for _, m := range msgs {
				sent[m.Key]++
				if m.Key == "user:7" {
					again := letter(7)
					again.Rev, again.Last = "again", time.Now()
					return s.Put(ctx, again)
				}
				if m.ID == "" || m.Channel != "x.all" || m.Type != "a.b" || m.Priority != 1 || len(m.Body) == 0 {
					t.Errorf("%+v was sent", m)
				}
			}
			return nil
		})
		dry, err := deadletter.Redrive(t.Context(), s, to, deadletter.RedriveOptions{DryRun: true})
		if dry != (deadletter.Report{Sent: 250, Skipped: 1}) || err != nil || len(sent) > 0 {
			t.Errorf("the dry run says %+v, %v, and sent %d", dry, err, len(sent))
		}
		first, err := deadletter.Redrive(t.Context(), s, to, deadletter.RedriveOptions{Batch: 100})
		if first.Sent != 100 || err == nil {
			t.Errorf("the first run says %+v, %v", first, err)
		}
		second, err := deadletter.Redrive(t.Context(), s, to, deadletter.RedriveOptions{Query: deadletter.Query{Until: start.Add(time.Hour)}})
		if second != (deadletter.Report{Sent: 150, Skipped: 1}) || err != nil {
			t.Errorf("the second run says %+v, %v", second, err)
		}
		if got := all(t, s, deadletter.Query{}); !slices.Equal(got, []string{"event-900", "event-7"}) {
			t.Errorf("left are %v", got)
		}
	})
}

func TestARedriveKeepsToItsRate(t *testing.T) {
	s := deadletter.NewMemory(0, 0)
	put(t, s, letters(0, 30)...)
	begin := time.Now()
	r, err := deadletter.Redrive(t.Context(), s, func(context.Context, []deadletter.Letter) error { return nil },
		deadletter.RedriveOptions{Rate: 100})
	if took := time.Since(begin); err != nil || r.Sent != 30 || took < 190*time.Millisecond {
		t.Errorf("%+v, %v within %v, want 30 at 100/s", r, err, took)
	}
}

func TestErrorsOfOneCauseHaveOneFingerprint(t *testing.T) {
	same := [][2]string{
		{`user 17: timeout after 30.2s`, `user 9: timeout after 1.5s`},
		{`no such file "a"`, `no such file "b/c"`},
		{`order 01a2149c-48c6-7126-b414-80431edd1d8e is gone`, `order 55555555-48c6-7126-b414-80431edd1d8e is gone`},
		{`at 0xc000012345`, `at 0xc0000aaaaa`},
	}
	for _, s := range same {
		if a, b := deadletter.Fingerprint("a.b", s[0]), deadletter.Fingerprint("a.b", s[1]); a != b || len(a) != 16 {
			t.Errorf("%q and %q have %s and %s", s[0], s[1], a, b)
		}
	}
	if deadletter.Fingerprint("a.b", "timeout") == deadletter.Fingerprint("a.b", "refused") ||
		deadletter.Fingerprint("a.b", "timeout") == deadletter.Fingerprint("a.c", "timeout") {
		t.Error("different causes have one fingerprint")
	}
}

func TestAURLThatNoStoreReadsIsRefused(t *testing.T) {
	for _, url := range []string{"", "letters.db", "mysql://u:secret@h/db", "memory://?max=0", "memory://?size=3", "sqlite:", "sqlite:x?y=1"} {
		s, err := deadletter.Open(url)
		if err == nil {
			t.Errorf("%q was opened: %v", url, s)
		}
	}
	if _, err := deadletter.Open("mysql://u:secret@h/db"); !errors.Is(err, deadletter.ErrNoScheme) {
		t.Error(err)
	}
}
