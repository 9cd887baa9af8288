package observe

import (
	"strings"
	"unicode/utf8"
)

const (
	// other is the value of a label that has as many values as it may have.
	other = "other"
	// maxValueBytes is how long a label's value may be.
	maxValueBytes = 128
)

// A labels bounds the values of labels. Those that came first keep their place, so that a counter never moves from one
// series to another.
type labels struct {
	max   int
	known map[string]map[string]bool // by the label's name
}

// bound returns the values by which a sample is known.
func (l *labels) bound(m *Metric, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = l.value(m.Labels[i], v)
	}
	return out
}

func (l *labels) value(name, v string) string {
	v = clean(v)
	known := l.known[name]
	if known == nil {
		known = make(map[string]bool)
		if l.known == nil {
			l.known = make(map[string]map[string]bool)
		}
		l.known[name] = known
	}
	switch {
	case known[v]:
	case v == other || len(known) >= l.max:
		return other
	default:
		known[v] = true
	}
	return v
}

// clean makes v a text that every monitoring system takes.
func clean(v string) string {
	if len(v) > maxValueBytes {
		v = v[:maxValueBytes]
		for len(v) > 0 && !utf8.RuneStart(v[len(v)-1]) {
			v = v[:len(v)-1]
		}
		if r, size := utf8.DecodeLastRuneInString(v); r == utf8.RuneError && size <= 1 && len(v) > 0 {
			v = v[:len(v)-1]
		}
	}
	v = strings.ToValidUTF8(v, "\ufffd")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\ufffd'
		}
		return r
	}, v)
}

// A merger sums up samples whose labels became the same.
type merger struct {
	labels *labels
	index  map[string]int
	out    []Sample
}

func (m *merger) add(s Sample) {
	s.Labels = m.labels.bound(s.Metric, s.Labels)
	key := s.Metric.Name + "\x00" + strings.Join(s.Labels, "\x00") // clean values have no NUL
	i, again := m.index[key]
	if !again {
		m.index[key] = len(m.out)
		m.out = append(m.out, s)
		return
	}
	have := &m.out[i]
	switch {
	case s.Metric.Kind == Histogram:
		have.Histogram = joined(have.Histogram, s.Histogram)
	case s.Metric.merge != nil:
		have.Value = s.Metric.merge(have.Value, s.Value)
	default:
		have.Value += s.Value
	}
}
