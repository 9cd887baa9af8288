#!/usr/bin/env bash
# Runs staticcheck at a pinned version. It is built into .cache/bin, from the module cache where it is there already, so
# that a second run needs no network; and it is no dependency in go.mod, so that users of the library do not download it.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=v0.8.2
module=honnef.co/go/tools/cmd/staticcheck
# Its analysis is that of the Go it was built with.
bin=$root/.cache/staticcheck-$version-$(go env GOVERSION)

build() { GOBIN=$bin within 300 go install "$module@$version" </dev/null; }
from_cache() { GOPROXY="file://$(go env GOMODCACHE)/cache/download" GOSUMDB=off build 2>/dev/null; }

if [ ! -x "$bin/staticcheck" ]; then
	from_cache || build || die "staticcheck $version could not be had: it is neither in the module cache nor to be downloaded"
fi
"$bin/staticcheck" "${@:-./...}"
