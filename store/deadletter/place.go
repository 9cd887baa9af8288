package deadletter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Place writes where a letter stands in the order of [Store.Page], so that texts compare as places do: for stores, as a cursor and
// as a key to sort by.
func Place(l Letter) string { return fmt.Sprintf("%016x:%s", max(l.Last.UnixMicro(), 0), l.ID) }

// ParsePlace returns a letter with the ID and the Last of a place.
func ParsePlace(place string) (Letter, error) {
	at, id, ok := strings.Cut(place, ":")
	micros, err := strconv.ParseInt(at, 16, 64)
	if !ok || err != nil {
		return Letter{}, fmt.Errorf("%q is no cursor: use one that Page returned", place)
	}
	return Letter{ID: id, Last: time.UnixMicro(micros).UTC()}, nil
}
