package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

// filters returns subjects that match what the patterns match and do not overlap, which a consumer's may not. Where two
// patterns overlap and neither covers the other, they become one that matches more: what it matches too much is looked
// at again by owns.
func filters(patterns []brokers.Pattern) []string {
	out := slices.Clone(patterns)
	for i := 0; i < len(out); i++ {
		for j := i + 1; j < len(out); j++ {
			if !out[i].Overlaps(out[j]) {
				continue
			}
			wide, err := brokers.ParsePattern(generalise(out[i].String(), out[j].String()))
			if err != nil { // two patterns that overlap always have one
				continue
			}
			out[i] = wide
			out = slices.Delete(out, j, j+1)
			i, j = -1, len(out) // the wide one may overlap others: from the beginning
		}
	}
	texts := make([]string, len(out))
	for i, p := range out {
		texts[i] = p.String()
	}
	slices.Sort(texts)
	return texts
}

// generalise returns the narrowest pattern that matches what a and b match, token by token.
func generalise(a, b string) string {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	var out []string
	for i := range max(len(as), len(bs)) {
		switch {
		case i >= len(as) || i >= len(bs): // the shorter one ended: it can only be followed by more
			return strings.Join(append(out[:len(out)-1], ">"), ".")
		case as[i] == ">" || bs[i] == ">":
			return strings.Join(append(out, ">"), ".")
		case as[i] == bs[i]:
			out = append(out, as[i])
		default:
			out = append(out, "*")
		}
	}
	return strings.Join(out, ".")
}

// durableName is the consumer's name for a group: what of the group's name the server allows, and a hash that tells
// apart the groups, and the channels of one group, that look alike then.
func durableName(group string, filters []string) string {
	sum := sha256.Sum256([]byte(group + "\x00" + strings.Join(filters, "\x00")))
	return safeName(group) + "-" + hex.EncodeToString(sum[:6])
}

// safeName replaces what a consumer's name may not have (https://docs.nats.io/nats-concepts/jetstream/consumers), and
// shortens what is too long for a file's name.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 100)]
}
