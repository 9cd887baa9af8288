package brokers

import (
	"fmt"
	"strings"
)

// MaxHeaders is how many headers a message may have: NATS and AMQP count them into limits of their own, and every reader pays
// for each one.
const MaxHeaders = 64

// MaxHeaderKey is how many bytes the key of a header may have: a name of AMQP's has at most 255, of which a driver may need a few for
// a prefix.
const MaxHeaderKey = 250

// A HeaderError says why the headers of a message can never be carried. A Conn that returns it marks the message Rejected, and says
// that it is not retryable.
type HeaderError struct {
	Problem string // what is wrong and what to write instead
}

// Error is the problem.
func (e *HeaderError) Error() string { return e.Problem }

// CheckHeaders holds headers to what every broker carries: at most [MaxHeaders], each key a token of RFC 9110 of at most
// [MaxHeaderKey] bytes, no value with CR, LF or NUL. Every Conn applies it to what it is asked to publish, as it does [CheckChannel],
// before its client sees it. Its error is a *HeaderError, never a typed nil. It does not allocate where there is none.
func CheckHeaders(headers []Header) error {
	if n := len(headers); n > MaxHeaders {
		return &HeaderError{fmt.Sprintf("%d headers are more than the %d that are allowed: put the others into the body", n, MaxHeaders)}
	}
	for i := range headers {
		if problem := headers[i].problem(); problem != "" {
			return &HeaderError{problem}
		}
	}
	return nil
}

// problem says what is wrong with a header.
func (h *Header) problem() string {
	if h.Key == "" {
		return "a header has no key"
	}
	if n := len(h.Key); n > MaxHeaderKey {
		return fmt.Sprintf("header key %.100q has %d bytes, and %d are allowed: write a shorter one", h.Key, n, MaxHeaderKey)
	}
	for i := range len(h.Key) {
		if !inHeaderKey[h.Key[i]] {
			return fmt.Sprintf("header key %.100q has a character that is not allowed in a token: write letters, digits and -", h.Key)
		}
	}
	if strings.ContainsAny(h.Value, "\r\n\x00") {
		return fmt.Sprintf("the value of header %q has a CR, LF or NUL: encode it", h.Key)
	}
	return ""
}

// inHeaderKey says which bytes a token of RFC 9110 is made of.
var inHeaderKey = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()
