package behaviour

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/all"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A row is one behaviour.
type row struct {
	name string
	// holds reports whether a broker that promises caps shows it; nil means every one. Others show what otherwise says.
	holds     func(caps brokers.Capabilities) bool
	otherwise string
	// begin adds its subscriptions to the bus of p, and returns what checks the behaviour once the bus runs.
	begin func(p *place) (check func(t *testing.T))
	// timed rows hold their broker to times, and run alone in full size, on buses of their own.
	timed bool
}

// inFull says that this run is alone on its machine, and measures.
var inFull = os.Getenv("EVENTBUS_FULL") == "1"

// table is all rows. The last one closes the bus.
func table() []row {
	return []row{
		{name: "a short wait is spent in place", begin: retryInPlace},
		{name: "a long wait lets others pass, and comes back to the failing subscription alone", begin: retryLater},
		{name: "RetryAfter is obeyed", begin: retryAfter},
		{name: "an attempt ends by its timeout", begin: attemptTimesOut},
		{name: "an error has a policy of its own", begin: policies},
		{name: "attempts are counted across a restart", begin: restarted, holds: countsOn,
			otherwise: "they begin anew where the broker counts none, and what it does not keep is gone with its process"},
		{name: "Permanent: in the dead letters, with reason, attempts and the bytes as they came", begin: permanent},
		{name: "a panic and a Goexit: in the dead letters, and the worker is replaced", begin: panics},
		{name: "a handler that ignores its context: in the dead letters as stuck, and the worker is replaced", begin: stuck},
		{name: "what is no event: in the dead letters, byte for byte", begin: malformed},
		{name: "Drop: counted, and not in the dead letters", begin: dropped},
		{name: "an event that comes twice is handled once", begin: deduplicated},
		{name: "the memory of what was handled away: an event waits, or is handled, and none is skipped", begin: dedupAway},
		{name: "dead letters are grouped by cause, redriven by it, corrected and purged", begin: workedOn},
		{name: "a redrive to the subscription is seen by no other", begin: redriven},
		{name: "a redrive to the channel is seen by all", begin: redrivenToAll},
		{name: "events of a key wait behind one that is retried", begin: ordered, holds: keepsKeys,
			otherwise: "they pass: no order is promised"},
		{name: "KeepOrder: events of a key wait behind its dead letter, and are released in order", begin: keptInOrder,
			holds: ordersGroups, otherwise: "refused at the start: no order is promised in groups"},
		{name: "kill -9 between the dead-letter write and the ack: in the dead letters once", begin: killed, holds: durable,
			otherwise: "what was delivered is forgotten, and its letter is there"},
		{name: "dead letters away: the subscription pauses, at most a try a second, others go on", begin: lettersAway, holds: takesBack,
			otherwise: "nothing is taken back: a bounded number of letters waits in the process, and what is more is counted"},
		{name: "urgent events first, and the others in their turn", begin: urgentFirst},
		{name: "a pause hands out nothing and uses up no attempt", begin: paused},
		{name: "a batch has an outcome for each of its events", begin: inBatches},
		{name: "a rate is kept", begin: rated},
		{name: "a breaker pauses the subscription and uses up no attempt", begin: broken},
		{name: "one poisonous event holds up no other", begin: poison},
		{name: "SIGTERM with 100 handlers in flight: all end, nothing finished comes again, Close names the one that would not end",
			begin: toldToEnd, timed: true, holds: durable,
			otherwise: "what was received is handled, since nothing is taken back"},
		{name: "Close lets 20 handlers finish, and nothing finished comes again", begin: drained},
	}
}

func ordersGroups(caps brokers.Capabilities) bool { return caps.Groups && keepsKeys(caps) }

func durable(caps brokers.Capabilities) bool { return caps.Durable }

// takesBack is what a broker with groups does: it wants to know what became of its messages.
func takesBack(caps brokers.Capabilities) bool { return caps.Groups }

func keepsKeys(caps brokers.Capabilities) bool { return caps.Order != brokers.OrderNone }

// A column is a broker.
type column struct {
	name string
	url  func(t *testing.T) string
	// brief is the parameter by which the broker delivers soon what a process had that was killed; empty where it does so anyway.
	brief string
	// ordering is the parameter that makes it keep the order of keys in groups, where it is a broker that does not by itself.
	ordering string
}

// slowly lets a busy machine take longer than the defaults allow.
const slowly = "?read_timeout=30s&write_timeout=30s"

var columns = []column{
	{name: "memory", url: func(*testing.T) string { return "memory://" }},
	{name: "redis", url: func(t *testing.T) string { return testbroker.AnyRedis(t).URL() + slowly + "&ping_interval=30s" }},
	{name: "redis+stream", brief: "lease=2s", url: func(t *testing.T) string {
		return strings.Replace(testbroker.AnyRedis(t).URL(), "redis://", "redis+stream://", 1) + slowly
	}},
	{name: "nats", url: func(t *testing.T) string { return testbroker.AnyNATS(t, testbroker.NATSOptions{}).URL() }},
	{name: "nats+js", brief: "ack_wait=2s", url: func(t *testing.T) string {
		return testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true}).JetURL()
	}},
	{name: "kafka", url: func(t *testing.T) string {
		opts := testbroker.KafkaOptions{InProcess: os.Getenv(testbroker.EnvRequireReal) != "1" && !testbroker.InstalledKafka()}
		return testbroker.StartKafka(t, opts).URL() + "?partitions=4&session_timeout=6s"
	}},
	{name: "amqp", ordering: "single_active=true", url: func(t *testing.T) string { return testbroker.StartRabbitMQ(t, testbroker.RabbitMQOptions{}).URL() }},
}

// results has what came of each row, by column.
type results struct {
	mu sync.Mutex
	of map[string]map[string]string
}

func (r *results) set(column, row, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[column] == nil {
		r.of[column] = make(map[string]string)
	}
	r.of[column][row] = what
}

func TestTheTableOfBehavioursHoldsOnEveryBroker(t *testing.T) {
	got := &results{of: make(map[string]map[string]string)}
	var all sync.WaitGroup
	var alone turns
	alone.others.Add(len(columns))
	for _, c := range columns { // at once, and not by t.Parallel, which takes as many as there are processors
		all.Go(func() { t.Run(c.name, func(t *testing.T) { runColumn(t, c, got, &alone) }) })
	}
	all.Wait()
	printTable(t, got)
}

// turns let the columns run something one after the other, once all of them have run the rest.
type turns struct {
	others sync.WaitGroup
	mu     sync.Mutex
}

// runColumn runs all rows on one broker: the last one alone, the others at once, and in full size those that are timed while no other
// column runs.
func runColumn(t *testing.T, c column, got *results, alone *turns) {
	done := sync.OnceFunc(alone.others.Done)
	defer done()
	rows := table()
	url := c.url(t)
	p := newPlaces(t, url, len(rows))
	p.brief = c.brief
	checks := make([]func(*testing.T), len(rows))
	for i := range rows {
		checks[i] = rows[i].begin(p.at(i))
	}
	p.start(t)
	last := len(rows) - 1
	var others sync.WaitGroup
	for i := range last {
		if !inFull || !rows[i].timed {
			others.Go(func() { got.run(t, c, p, &rows[i], checks[i]) })
		}
	}
	if c.ordering != "" {
		others.Go(func() {
			t.Run("KeepOrder with "+c.ordering, func(t *testing.T) { keepsOrderWith(t, url+"?exchange=ordered&"+c.ordering) })
		})
	}
	others.Wait()
	got.run(t, c, p, &rows[last], checks[last])
	if !inFull {
		return
	}
	done()
	alone.others.Wait()
	alone.mu.Lock()
	defer alone.mu.Unlock()
	for i := range last {
		if rows[i].timed {
			got.run(t, c, p, &rows[i], checks[i])
		}
	}
}

func (r *results) run(t *testing.T, c column, p *places, row *row, check func(*testing.T)) {
	r.set(c.name, row.name, "FAILED")
	held := "yes"
	if row.holds != nil && !row.holds(p.caps) {
		held = "differs"
	}
	if t.Run(row.name, check) {
		r.set(c.name, row.name, held)
	}
}

// printTable prints the table, and what the rows that differ say.
func printTable(t *testing.T, got *results) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	fmt.Fprint(w, "behaviour")
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.name)
	}
	fmt.Fprintln(w)
	for _, r := range table() {
		fmt.Fprint(w, r.name)
		for _, c := range columns {
			what := got.of[c.name][r.name]
			if what == "" {
				what = "-" // no server
			}
			fmt.Fprint(w, "\t", what)
		}
		fmt.Fprintln(w)
	}
	for _, r := range table() {
		if r.otherwise != "" {
			fmt.Fprintf(w, "differs: %s: %s\n", r.name, r.otherwise)
		}
	}
	w.Flush()
	t.Log("\n" + out.String())
	figures(t, out.String())
}

func figures(t *testing.T, text string) {
	path := os.Getenv("EVENTBUS_FIGURES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("EVENTBUS_FIGURES: %v", err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Errorf("EVENTBUS_FIGURES: %v", err)
	}
}
