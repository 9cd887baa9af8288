package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// header names the columns of the table. Durations are those of one call, or of one event on its way.
var header = []string{
	"what", "events/s", "ratio", "spread", "caller", "allocs", "p50", "p99", "p99.9", "max", "target", "met",
}

// cells are a row as text.
func (r row) cells() []string {
	g := r.got
	return []string{
		r.what, rateText(g.rate), r.ratioText(), r.spreadText(), nsText(g.mean), allocsText(g.allocs),
		nsText(g.p50), nsText(g.p99), nsText(g.p999), nsText(g.max), r.target, r.met.String(),
	}
}

func (r row) ratioText() string {
	if math.IsNaN(r.ratios.mid) {
		return ""
	}
	return digits(r.ratios.mid) + " × " + r.base
}

func (r row) spreadText() string {
	if math.IsNaN(r.ratios.mid) {
		return ""
	}
	return digits(r.ratios.low) + " to " + digits(r.ratios.high)
}

// digits writes a number with two or three significant ones.
func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// rateText writes 12,345,678.
func rateText(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func nsText(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case v < 1e3:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ns"
	case v < 1e6:
		return digits(v/1e3) + " µs"
	case v < 1e9:
		return digits(v/1e6) + " ms"
	}
	return digits(v/1e9) + " s"
}

func allocsText(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// brief is a sample in a few words.
func brief(s sample) string {
	var parts []string
	for _, p := range []struct{ text, unit string }{
		{rateText(s.rate), "/s"}, {nsText(s.mean), " mean"}, {allocsText(s.allocs), " allocs"},
		{nsText(s.p50), " p50"}, {nsText(s.p99), " p99"}, {nsText(s.p999), " p99.9"}, {nsText(s.max), " max"},
	} {
		if p.text != "" {
			parts = append(parts, p.text+p.unit)
		}
	}
	return strings.Join(parts, "  ")
}

// writeTable writes the table for a terminal.
func writeTable(w io.Writer, h host, rows []row) error {
	lines := [][]string{header}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	widths := make([]int, len(header))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", h)
	for n, l := range lines {
		var line strings.Builder
		for i, c := range l {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if isText(i) {
				line.WriteString(c + pad + "  ")
			} else {
				line.WriteString(pad + c + "  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if n == 0 {
			b.WriteString(strings.Repeat("-", utf8.RuneCountInString(line.String())) + "\n")
		}
	}
	fmt.Fprintf(&b, "\n%s\n", legend)
	_, err := io.WriteString(w, b.String())
	return err
}

// isText reports whether a column is aligned to the left.
func isText(column int) bool {
	return header[column] == "what" || header[column] == "target" || header[column] == "met"
}

// legend explains the columns.
const legend = `Medians; a ratio is ours to the base measured in turns with it, the spread its lowest and highest.
caller: the time of one call, or of one event all the way; allocs: heap objects per event.`

// writeMarkdown writes the table as the README has it: without columns that only experts read.
func writeMarkdown(w io.Writer, h host, rows []row) error {
	columns := []int{0, 1, 2, 4, 5, 6, 7, 8, 10, 11}
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range columns {
			b.WriteString("| " + strings.ReplaceAll(cells[c], "  ", "&nbsp;&nbsp;") + " ")
		}
		b.WriteString("|\n")
	}
	fmt.Fprintf(&b, "%s\n\n", h)
	line(header)
	for _, c := range columns {
		if isText(c) {
			b.WriteString("|---")
		} else {
			b.WriteString("|--:")
		}
	}
	b.WriteString("|\n")
	for _, r := range rows {
		line(r.cells())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeJSON writes the figures as one object, with four significant digits.
func writeJSON(w io.Writer, f figures) error {
	rounded := make(map[string]json.Number, len(f))
	for key, v := range f {
		rounded[key] = json.Number(strconv.FormatFloat(v, 'g', 4, 64))
	}
	b, err := json.MarshalIndent(rounded, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
