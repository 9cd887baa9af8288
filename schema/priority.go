package schema

import "fmt"

// Priority says how much an event matters when not everything can be carried: it decides what is dropped first and
// handled first, never the order within a key. The zero value is Normal.
type Priority int8

// The four priorities of the contract, in ascending order.
const (
	Low      Priority = -1
	Normal   Priority = 0
	High     Priority = 1
	Critical Priority = 2
)

// String returns the priority as it stands on the wire, such as "high".
func (p Priority) String() string {
	switch p {
	case Low:
		return "low"
	case Normal:
		return "normal"
	case High:
		return "high"
	case Critical:
		return "critical"
	}
	return fmt.Sprintf("Priority(%d)", int8(p))
}

// Valid reports whether p is one of the four priorities.
func (p Priority) Valid() bool { return p >= Low && p <= Critical }

// ParsePriority is the inverse of [Priority.String]. It is case-sensitive.
func ParsePriority(s string) (Priority, error) {
	if p, ok := priorityOf(s); ok {
		return p, nil
	}
	return Normal, fmt.Errorf("schema: priority %q is unknown (low, normal, high, critical)", s)
}

func priorityOf[T []byte | string](s T) (p Priority, ok bool) {
	switch string(s) {
	case "low":
		return Low, true
	case "normal":
		return Normal, true
	case "high":
		return High, true
	case "critical":
		return Critical, true
	}
	return Normal, false
}

// MarshalText makes a Priority readable in JSON, YAML and flags.
func (p Priority) MarshalText() ([]byte, error) {
	if !p.Valid() {
		return nil, fmt.Errorf("schema: %v is not a priority", p)
	}
	return []byte(p.String()), nil
}

// UnmarshalText is the inverse of MarshalText.
func (p *Priority) UnmarshalText(b []byte) error {
	v, err := ParsePriority(string(b))
	if err != nil {
		return err
	}
	*p = v
	return nil
}
