#!/usr/bin/env bash
# Finds libfaketime, which the tests set a server's clock with, or gets it by the package manager.
#
# Exit status 0: it is there. 1: it is not, and the reason is the only line on standard output.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Where the distributions put it: the list is that of internal/testbroker/redis_clock.go.
found() { compgen -G "/usr/lib/*/faketime/libfaketime.so.1" || compgen -G "/usr/lib64/faketime/libfaketime.so.1" ||
	compgen -G "/usr/lib/faketime/libfaketime.so.1"; } >/dev/null

if [ "$(uname -s)" != Linux ]; then
	echo "the tests that set a server's clock run on Linux"
	exit 1
fi
if found; then exit 0; fi
say "libfaketime: installing it"
if install libfaketime libfaketime libfaketime - && found; then exit 0; fi
echo "libfaketime is neither installed nor to be had by the package manager (see above); install it and run again"
exit 1
