package brokertest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// envConsume tells a test binary that it is to be a consumer; its value is an order in JSON.
const envConsume = "BROKERTEST_CONSUME"

// An order is what a consumer in another process is to do.
type order struct {
	URL          string
	Subscription brokers.Subscription
}

// Main is a TestMain for a driver whose harness uses Reexec: it runs the tests of m and exits.
//
//	func TestMain(m *testing.M) { brokertest.Main(context.Background(), m) }
func Main(ctx context.Context, m *testing.M) {
	Child(ctx)
	os.Exit(m.Run())
}

// Child does nothing, unless this process was started by what Reexec returned: then it consumes until it is killed or its
// parent is gone, and exits. A TestMain that does more than Main begins with it.
func Child(ctx context.Context) {
	text := os.Getenv(envConsume)
	if text == "" {
		return
	}
	if err := consume(ctx, text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "brokertest: consumer:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// consume prints the body of each delivery in base64, a line each, and acks it where the line that it then reads is "ack".
func consume(ctx context.Context, text string, in io.Reader, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	conn, err := brokers.Open(ctx, o.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return conn.Subscribe(ctx, o.Subscription, &obedient{ctx: ctx, cancel: cancel, in: bufio.NewReader(in), out: out})
}

// An obedient sink asks its parent of each delivery.
type obedient struct {
	ctx    context.Context
	cancel context.CancelFunc
	in     *bufio.Reader
	out    io.Writer
}

// Ready and Gap are no concern of it.
func (*obedient) Ready()          {}
func (*obedient) Gap(brokers.Gap) {}

func (o *obedient) Deliver(batch []brokers.Delivery) {
	for i := range batch {
		fmt.Fprintln(o.out, base64.StdEncoding.EncodeToString(batch[i].Body))
		answer, err := o.in.ReadString('\n')
		if err != nil { // the parent is gone
			o.cancel()
			return
		}
		if strings.TrimSpace(answer) == "ack" {
			_ = settle(o.ctx, batch[i:i+1], brokers.Ack, 0)
		}
	}
}

// Reexec returns a Harness.Consume that starts the test binary again, with a connection to url. The binary's TestMain has to
// call Main or Child.
func Reexec(url string) func(context.Context, brokers.Subscription, func([]byte) bool) (func() error, error) {
	return func(ctx context.Context, s brokers.Subscription, handle func([]byte) bool) (func() error, error) {
		text, err := json.Marshal(order{url, s})
		if err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), envConsume+"="+string(text))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		answered := closedWhen(func() { answer(out, in, handle) })
		var once sync.Once
		return func() error {
			once.Do(func() {
				_ = cmd.Process.Kill()
				<-answered
				_ = cmd.Wait() // how it ended is known
			})
			return nil
		}, nil
	}
}

// answer reads what the consumer asks, until it ends.
func answer(out io.Reader, in io.Writer, handle func([]byte) bool) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		body, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			continue
		}
		reply := "hold\n"
		if handle(body) {
			reply = "ack\n"
		}
		if _, err := io.WriteString(in, reply); err != nil {
			return
		}
	}
}
