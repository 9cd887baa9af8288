// Package health has the handlers for liveness and readiness that an orchestrator asks:
//
//	health.Register(http.DefaultServeMux, b) // GET /healthz and GET /readyz
//
// [Live] says that the process serves, and nothing of any broker: a restart cures no broker, and restarting every
// process while one is down makes an outage of it. [Ready] says whether the bus works: its brokers answer, its
// subscriptions are confirmed, its dead letters can be written, and it does not shut down.
//
// A service whose requests do not depend on events had better stay in the load balancer while its broker is away, since
// Emit goes on working: it names that broker in [Optional]. deploy/kubernetes/deployment.yaml has the probes for
// Kubernetes.
//
// What the handlers answer shows no password: no error of a driver has one. It does show names of hosts, so that it
// belongs on a port that is not public.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/probe"
)

// The paths of [Register].
const (
	LivePath  = "/healthz"
	ReadyPath = "/readyz"
)

// DeadLetters names the dead letters in [Optional].
const DeadLetters = "dead_letters"

// Defaults of the options. The timeout is below the second that Kubernetes allows a probe unless it is told otherwise.
const (
	DefaultTimeout = 800 * time.Millisecond
	DefaultEvery   = time.Second
)

// An Option changes what Ready does.
type Option func(*ready)

// Timeout bounds how long an answer takes. Default [DefaultTimeout].
func Timeout(d time.Duration) Option { return func(r *ready) { r.timeout = d } }

// Every is how often brokers are asked at most, however often the handler is. Default [DefaultEvery].
func Every(d time.Duration) Option { return func(r *ready) { r.check.Every = d } }

// Optional names brokers, or [DeadLetters], that the service is ready without: what is wrong with them is shown and
// does not count, and neither do subscriptions that only they have not confirmed.
func Optional(names ...string) Option {
	return func(r *ready) { r.optional = append(r.optional, names...) }
}

// Register adds Live and Ready to a mux, at [LivePath] and [ReadyPath].
func Register(mux *http.ServeMux, b *bus.Bus, opts ...Option) {
	mux.Handle(LivePath, Live())
	mux.Handle(ReadyPath, Ready(b, opts...))
}

// Live answers 200 for as long as the process serves at all.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, true, Report{Status: "live"}) })
}

// Ready answers 200 where the bus works, and 503 where it does not, with a [Report] that says why. It is safe for
// concurrent use.
func Ready(b *bus.Bus, opts ...Option) http.Handler {
	r := &ready{bus: b, timeout: DefaultTimeout, check: probe.Probe[bus.HealthReport]{Every: DefaultEvery}}
	for _, o := range opts {
		o(r)
	}
	r.check.Timeout = r.timeout * 7 / 8 // drivers return within 100 ms of that
	r.check.Ask = func(ctx context.Context) (bus.HealthReport, error) { return b.Check(ctx), nil }
	return r
}

// A Report is what the handlers answer, as JSON.
type Report struct {
	// Status is "live", "ready" or "not ready".
	Status string `json:"status"`
	// Error is what is wrong with the bus as a whole.
	Error string `json:"error,omitempty"`
	// Brokers and Subscriptions are by name.
	Brokers       map[string]State `json:"brokers,omitempty"`
	Subscriptions map[string]State `json:"subscriptions,omitempty"`
	// DeadLetters says whether they can be written.
	DeadLetters *State `json:"dead_letters,omitempty"`
}

// A State says of one thing whether it works.
type State struct {
	OK bool `json:"ok"`
	// Optional says that the service is ready without it.
	Optional bool `json:"optional,omitempty"`
	// Error is what is wrong with it.
	Error string `json:"error,omitempty"`
}

type ready struct {
	bus      *bus.Bus
	timeout  time.Duration
	optional []string
	check    probe.Probe[bus.HealthReport]
}

// ServeHTTP implements http.Handler.
func (r *ready) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	end, cancel := context.WithTimeout(req.Context(), r.timeout)
	defer cancel()
	health, err := r.check.Get(r.check.Start(req.Context()), end.Done())
	report := r.report(health, err)
	write(w, report.Status == "ready", report)
}

// report says what is known.
func (r *ready) report(health bus.HealthReport, err error) Report {
	out := Report{Status: "ready", Brokers: make(map[string]State), Subscriptions: make(map[string]State)}
	good := true
	switch {
	case err == nil && len(health.Brokers) == 0:
		err = health.Err() // closed
	case health.Stopping:
		err = errStopping
	}
	if err != nil {
		out.Error, good = err.Error(), false
	}
	for name, err := range health.Brokers {
		out.Brokers[name] = r.state(err, name)
		good = good && out.Brokers[name].counts()
	}
	if len(health.Brokers) > 0 {
		letters := r.state(health.DeadLetters, DeadLetters)
		out.DeadLetters, good = &letters, good && letters.counts()
	}
	for name, st := range r.bus.Stats().Subscriptions {
		out.Subscriptions[name] = r.subscription(st, health.Subscriptions[name])
		good = good && out.Subscriptions[name].counts()
	}
	if !good {
		out.Status = "not ready"
	}
	return out
}

var errStopping = errors.New("the bus receives no more: it shuts down, or its Run has ended")

// counts reports whether the service may be ready.
func (s State) counts() bool { return s.OK || s.Optional }

func (r *ready) state(err error, name string) State {
	s := State{OK: err == nil, Optional: slices.Contains(r.optional, name)}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// subscription says how one fares, of which the brokers that it reads say byBroker; nothing where the bus does not run.
func (r *ready) subscription(st bus.SubscriptionStats, byBroker map[string]error) State {
	if st.Ready {
		return State{OK: true}
	}
	s := State{Optional: len(byBroker) > 0}
	var errs []error
	for name, err := range byBroker {
		if err != nil {
			errs = append(errs, err)
			s.Optional = s.Optional && slices.Contains(r.optional, name)
		}
	}
	switch len(errs) {
	case 0:
		s.Optional, s.Error = false, "it does not run yet"
	default:
		slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		s.Error = errors.Join(errs...).Error()
	}
	return s
}

func write(w http.ResponseWriter, good bool, r Report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !good {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(r) // who asked has gone
}
