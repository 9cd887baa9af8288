package schema

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func TestAnIDIsAUUIDOfVersion7WithTheTimeInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(12345 * time.Millisecond)
		for _, s := range []string{NewID(), new(IDSource).Next()} {
			id, err := uuid.Parse(s)
			sec, ns := id.Time().UnixTime()
			if at := time.Unix(sec, ns); time.Until(at).Abs() > time.Millisecond {
				t.Errorf("%q is of %v, it is %v", s, at, time.Now())
			}
			if err != nil || id.String() != s || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
				t.Errorf("%q: %v, version %d, variant %v", s, err, id.Version(), id.Variant())
			}
		}
	})
}

func TestIDsOfOneSourceAscendAndNeverChange(t *testing.T) {
	var s IDSource
	ids := make([]string, 10*idsInBlock)
	for i := range ids {
		ids[i] = s.Next()
	}
	for i, id := range ids {
		if _, err := uuid.Parse(id); err != nil || i > 0 && id <= ids[i-1] {
			t.Fatalf("id %d: %q after %q: %v", i, id, ids[max(i-1, 0)], err)
		}
	}
}

func TestIDsOfManySourcesAreAllDifferent(t *testing.T) {
	const goroutines, each = 8, 5000
	all := make([][]string, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			var s IDSource
			for range each {
				all[g] = append(all[g], s.Next(), NewID())
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, ids := range all {
		for _, id := range ids {
			if seen[id] {
				t.Fatalf("%s twice", id)
			}
			seen[id] = true
		}
	}
}

func BenchmarkID(b *testing.B) {
	b.Run("NewID", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewID()
		}
	})
	b.Run("IDSource", func(b *testing.B) {
		b.ReportAllocs()
		var s IDSource
		for b.Loop() {
			s.Next()
		}
	})
	b.Run("google-uuid", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = uuid.Must(uuid.NewV7()).String()
		}
	})
}
