package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// maxText bounds the text of an error that is kept.
const maxText = 4 << 10

// What differs between errors of one cause: quoted text, ids, and numbers.
var variable = regexp.MustCompile(`"[^"]*"|'[^']*'|` + "`[^`]*`" + `|\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*\b|\d+(?:\.\d+)*`)

// Fingerprint returns 16 hexadecimal digits that are the same for errors of one cause: those whose texts are equal but for
// numbers, ids and what is in quotes, for one type of events. It does not change between versions of a program that say the
// same.
func Fingerprint(eventType, text string) string {
	sum := sha256.Sum256([]byte(eventType + "\x00" + variable.ReplaceAllString(Clip(text), "?")))
	return hex.EncodeToString(sum[:8])
}

// Clip cuts the text of an error to what a letter keeps of it.
func Clip(text string) string {
	if len(text) <= maxText {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:maxText-len("…")], "") + "…"
}
