package middleware

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text returns p as [ParsePolicy] reads it, such as "5 times, 200ms to 10m, jitter", with the defaults written out where they
// are what one asks for first, and left out elsewhere. Errors is no part of it.
func (p Policy) Text() string {
	p = p.orDefaults()
	if p.Attempts == 1 {
		return "never"
	}
	b := p.Backoff.orDefaults()
	b.Min = min(b.Min, b.Max)
	out := fmt.Sprintf("%d times, %s to %s", p.Attempts, brief(b.Min), brief(b.Max))
	if b.Min == b.Max {
		out = fmt.Sprintf("%d times, %s", p.Attempts, brief(b.Max))
	}
	if b.Factor != DefaultFactor && b.Min != b.Max {
		out += ", factor " + strconv.FormatFloat(b.Factor, 'g', -1, 64)
	}
	if b.NoJitter {
		out += ", no jitter"
	} else {
		out += ", jitter"
	}
	if p.InPlace != DefaultInPlace {
		out += ", in place up to " + brief(p.InPlace)
	}
	if p.MaxWait != DefaultMaxWait {
		out += ", hold up to " + brief(p.MaxWait)
	}
	if p.AnyOrder {
		out += ", any order"
	}
	return out
}

// brief writes a duration without the units that are zero: 10m and not 10m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParsePolicy reads a retry policy: "never", or parts separated by commas, of which only the first is required.
//
//	5 times             attempts, the first one included
//	200ms to 10m        the ceiling of the first wait, and the highest one; or one duration for all waits
//	factor 3            by which the ceiling grows; 2 unless it says otherwise
//	jitter, no jitter   a wait is anything up to its ceiling, or the ceiling itself; jitter is the default
//	in place up to 1s   the longest wait that keeps a worker
//	hold up to 5m       the longest wait within the process that a handler may ask for
//	any order           later events of the key need not wait
//
// Its error shows the part that cannot be read, and what could be there. [Policy.Text] is its inverse.
func ParsePolicy(s string) (Policy, error) {
	var p Policy
	if strings.TrimSpace(s) == "never" {
		return Never, nil
	}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(s, ",") {
		part = strings.Join(strings.Fields(part), " ")
		kind, err := p.parse(part)
		if err != nil {
			return Policy{}, fmt.Errorf("retry policy: %w", err)
		}
		if seen[kind] {
			return Policy{}, fmt.Errorf("retry policy: %q says %s a second time: keep one", part, kind)
		}
		seen[kind] = true
	}
	if !seen["the attempts"] {
		return Policy{}, fmt.Errorf("retry policy: %q does not say how often: begin with the attempts, as in %q", s, example)
	}
	return p, p.Validate()
}

const example = "5 times, 200ms to 10m, jitter"

// parse takes one part in, and names what it was about.
func (p *Policy) parse(part string) (kind string, err error) {
	switch {
	case part == "jitter", part == "no jitter":
		p.Backoff.NoJitter = part != "jitter"
		return "the jitter", nil
	case part == "any order":
		p.AnyOrder = true
		return "the order", nil
	}
	if n, ok := strings.CutSuffix(part, " times"); ok {
		p.Attempts, err = count(n)
		return "the attempts", err
	}
	if f, ok := strings.CutPrefix(part, "factor "); ok {
		if p.Backoff.Factor, err = strconv.ParseFloat(f, 64); err != nil || !(p.Backoff.Factor >= 1) {
			err = fmt.Errorf("%q is not a factor: it is a number from 1, such as 2", f)
		}
		return "the factor", err
	}
	if d, ok := strings.CutPrefix(part, "in place up to "); ok {
		p.InPlace, err = wait(d)
		return "what waits in place", err
	}
	if d, ok := strings.CutPrefix(part, "hold up to "); ok {
		p.MaxWait, err = wait(d)
		return "what is held", err
	}
	return "the waits", p.parseWaits(part)
}

func (p *Policy) parseWaits(part string) (err error) {
	low, high, isRange := strings.Cut(part, " to ")
	if part == "" || part[0] < '0' || part[0] > '9' {
		return fmt.Errorf("%q cannot be read: write it as in %q", part, example)
	}
	if p.Backoff.Min, err = wait(low); err != nil {
		return err
	}
	if !isRange {
		p.Backoff.Max = p.Backoff.Min
		return nil
	}
	if p.Backoff.Max, err = wait(high); err == nil && p.Backoff.Max < p.Backoff.Min {
		err = fmt.Errorf("%q goes down: the shorter wait comes first", part)
	}
	return err
}

// count reads a number of attempts.
func count(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1_000_000 {
		return 0, fmt.Errorf("%q is not a number of attempts: from 1 to 1000000", s)
	}
	return n, nil
}

func wait(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration, such as 200ms, 10s or 1m30s", s)
	}
	return d, nil
}
