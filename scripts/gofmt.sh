#!/usr/bin/env bash
# Lists the Go files that gofmt would change, and fails if there are any.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

files=$(find . \( -name .git -o -name .cache -o -name node_modules -o -name testdata \) -prune -o -name '*.go' -print0 |
	xargs -0 gofmt -l) || die "gofmt failed"
[ -z "$files" ] && exit 0
say "gofmt would change these files ('gofmt -w' does it):"
die "$files"
