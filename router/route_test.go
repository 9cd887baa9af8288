package router_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestARouteThatIsAskedForAgainIsTheSame(t *testing.T) {
	r := mustNew(t, router.Default())
	first, _ := r.Route("role.assigned", "s", schema.High)
	again, _ := r.Route(strings.Clone("role.assigned"), "s", schema.High)
	if first == nil || first != again {
		t.Errorf("got %p and %p", first, again)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Route("role.assigned", "s", schema.High) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The key is the three together: suppose the strings were joined, then "a"+"bc" would be "ab"+"c".
func TestTypesSourcesAndPrioritiesAreNotMixedUp(t *testing.T) {
	r := mustNew(t, router.Config{Rules: []router.Rule{
		{Match: []string{"a"}, When: router.Condition{Sources: []string{"bc"}}, Channels: []string{"one"}},
		{Match: []string{"ab"}, When: router.Condition{Sources: []string{"c"}}, Channels: []string{"two"}},
		{Match: []string{">"}, When: router.Condition{MinPriority: priority(schema.High)}, Channels: []string{"high"}},
		{Match: []string{">"}, Channels: []string{"rest"}},
	}})
	for range 3 {
		for _, tt := range []struct {
			eventType, source string
			p                 schema.Priority
			want              string
		}{
			{"a", "bc", 0, "one rest"}, {"ab", "c", 0, "two rest"}, {"abc", "", 0, "rest"}, {"bc", "a", 0, "rest"},
			{"a", "bc", schema.High, "one high rest"}, {"a", "bc", schema.Low, "one rest"},
		} {
			if got := strings.Join(channelsOf(t, r, tt.eventType, tt.source, tt.p), " "); got != tt.want {
				t.Errorf("%q from %q at %v goes to %q, want %q", tt.eventType, tt.source, tt.p, got, tt.want)
			}
		}
	}
}

func TestTheCacheIsBoundedAndKeepsNoLargeTextAlive(t *testing.T) {
	r := mustNew(t, router.Default())
	before := heap()
	for i := range 50_000 {
		envelope := fmt.Sprintf("user.made_up_%d ", i) + strings.Repeat("x", 4096) // a type is often cut out of a body
		eventType := envelope[:strings.IndexByte(envelope, ' ')]
		if got := channelsOf(t, r, eventType, "s", 0); !slices.Equal(got, []string{"user", "all"}) {
			t.Fatalf("%s goes to %v", eventType, got)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("50,000 types left %d bytes behind, want at most 4 MiB", grown)
	}
	runtime.KeepAlive(r)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAHotTypeStaysFastAmongTheTypesOfALargeSystem(t *testing.T) {
	r := mustNew(t, router.Default())
	ask := func(i int) *router.Route {
		eventType, source := fmt.Sprintf("user.type_%d", i), "s"
		if i%2 == 0 {
			eventType, source = "user.updated", fmt.Sprintf("source_%d", i)
		}
		route, err := r.Route(eventType, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		return route
	}
	const types = 500
	var first [types]*router.Route
	for i := range first {
		first[i] = ask(i)
	}
	same := 0
	for i, route := range first {
		if ask(i) == route {
			same++
		}
	}
	if same < types-25 { // sets overflow by chance; the hash is seeded
		t.Errorf("%d of %d types were still in the cache", same, types)
	}
}

func TestRoutingIsSafeFromEverywhereAtOnce(t *testing.T) {
	r := mustNew(t, router.Default())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				if got := channelsOf(t, r, fmt.Sprintf("user.t%d", (i*7+g)%6000), "s", schema.Priority(i%4-1)); got[0] != "user" {
					t.Errorf("got %v", got)
				}
				if got := channelsOf(t, r, "role.assigned", "s", schema.High); len(got) != 3 {
					t.Errorf("got %v", got)
				}
			}
			_ = r.Explain(schema.Event{Type: "role.assigned"}).String()
			_, _ = r.Narrowest(nil)
			_ = r.Channels()
		})
	}
	wg.Wait()
}

func BenchmarkRoute(b *testing.B) {
	r := mustNew(b, router.Default())
	eventType, source := "password.reset_requested", "user_service"
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.Route(eventType, source, schema.High)
		}
	})
	b.Run("hit in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = r.Route(eventType, source, schema.High)
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		name := []byte("password.xxxxxxxxxxxxxxxx")
		for i := 0; b.Loop(); i++ {
			for j, n := len(name)-1, i; j > len("password."); j, n = j-1, n/26 {
				name[j] = 'a' + byte(n%26)
			}
			_, _ = r.Route(unsafe.String(&name[0], len(name)), source, schema.High)
		}
	})
}
