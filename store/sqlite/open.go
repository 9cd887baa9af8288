package sqlite

import (
	"database/sql"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// open opens the file of sqlite:path, or sqlite:path?bound=1000, and returns the bound, 0 where there is none. synchronous is the
// pragma: FULL has a commit on the disk when it returns, NORMAL in the hands of the system, which outlives the process.
func open(text, bound, synchronous string) (db *sql.DB, limit int, err error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "sqlite:"), "//"), "?")
	params, err := url.ParseQuery(query)
	if err != nil || path == "" {
		return nil, 0, fmt.Errorf("%q is no SQLite URL: write it as sqlite:file.db", text)
	}
	for key, values := range params {
		if limit, err = strconv.Atoi(values[0]); key != bound || err != nil || limit < 1 {
			return nil, 0, fmt.Errorf("sqlite: knows one parameter, %s, a number; not %s=%s", bound, key, values[0])
		}
	}
	dsn := "file:" + strings.ReplaceAll(url.PathEscape(path), "%2F", "/") +
		"?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")&_txlock=immediate"
	db, err = sql.Open("sqlite", dsn)
	return db, limit, err
}
