#!/usr/bin/env bash
# Runs every fuzz target for a while, one after the other. FUZZTIME is how long each runs, default 60s; PKG narrows it to
# one folder, such as PKG=./schema.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

have go || die "make fuzz needs Go: install it from https://go.dev/dl and run again"
time=${FUZZTIME:-60s}
under=${PKG:-.}
total=0
failed=()
while IFS=: read -r file target; do
	dir=./$(dirname "${file#./}")
	total=$((total + 1))
	say "== $target in $dir for $time"
	go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null || failed+=("$target in $dir")
done < <(grep -rHoE --include='*_test.go' --exclude-dir=.cache --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]*' "${under%/...}" |
	sed 's/:func /:/' | sort)

[ "$total" -gt 0 ] || die "there is no fuzz target under $under"
if [ ${#failed[@]} -gt 0 ]; then
	say "FAIL: ${#failed[@]} of $total fuzz targets:"
	printf '  %s\n' "${failed[@]}" >&2
	die "go test wrote each failing input to testdata/fuzz: commit it with the fix, as the test that it is"
fi
say "ok: $total fuzz targets ran for $time each"
