#!/usr/bin/env bash
# Runs all tests with the race detector (the full size without it), after getting what they need: a C compiler (for the race
# detector), redis-server, libfaketime (to set its clock), Apache Kafka with Java, rabbitmq-server, and Python and Node.js with
# their client libraries (for the subscribers in examples/subscribers).
#
# What could not be had is said in the last lines of the run. Where CI is true that is a failure, and elsewhere the tests
# that need it are skipped by name. Everything that is downloaded lands in .cache.
#
#   PKG        the packages, default ./...
#   TESTTIMEOUT  how long the tests of one package may take, default 20m
#   TESTFLAGS  further flags of go test, such as "-run TestClose -count 5"
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

have go || die "make test needs Go: install it from https://go.dev/dl and run again"
ci=$([ "${CI:-}" = true ] || [ "${CI:-}" = 1 ] && echo true || echo false)
missing=()   # arguments of the report: what could not be had
race=(-race)

# The race detector is linked by a C compiler.
if ! have "$(go env CC)" && ! install "gcc libc6-dev" gcc "gcc musl-dev" -; then
	missing+=(-missing "C compiler: the tests ran WITHOUT the race detector")
	race=()
fi
# The full size measures times, which the race detector would stretch; it has looked at the same code in make test.
[ "${EVENTBUS_FULL:-}" = 1 ] && race=()
[ ${#race[@]} -gt 0 ] && export CGO_ENABLED=1

# Where there is a server, a test that cannot start it fails. Where there is none, servers in the process take its place.
if reason=$("$root/scripts/ensure-redis.sh"); then
	export EVENTBUS_REQUIRE_REAL=1
	hash -r
else
	missing+=(-missing "redis-server: $reason")
	export EVENTBUS_REQUIRE_REAL=0
	if $ci; then export EVENTBUS_REQUIRE_REAL=1; fi
fi

if ! reason=$("$root/scripts/ensure-faketime.sh"); then
	missing+=(-missing "libfaketime: $reason")
	if ! $ci; then export EVENTBUS_REQUIRE_REAL=0; fi
fi

if reason=$("$root/scripts/ensure-kafka.sh"); then
	hash -r
else
	missing+=(-missing "Kafka: $reason")
	if ! $ci; then export EVENTBUS_REQUIRE_REAL=0; fi
fi

if reason=$("$root/scripts/ensure-rabbitmq.sh"); then
	hash -r
else
	missing+=(-missing "RabbitMQ: $reason")
	if ! $ci; then export EVENTBUS_REQUIRE_REAL=0; fi
fi

# The subscribers in other languages. What their set-up does not find it says itself.
setup=examples/subscribers/setup.sh
if [ -f "$setup" ]; then
	have python3 || install "python3 python3-venv" python3 python3 python3
	have npm || install "nodejs npm" "nodejs npm" "nodejs npm" node
	if ! said=$(sh "$setup" </dev/null 2>&1 | tee /dev/stderr); then
		missing+=(-missing "subscribers in other languages: ${said##*$'\n'}")
	fi
	if [ -x .cache/venv/bin/python ]; then export EVENTBUS_TEST_PYTHON=$root/.cache/venv/bin/python; fi
fi

record=$(mktemp) || exit 1
figures=$(mktemp) || exit 1
cases=$(mktemp) || exit 1
trap 'rm -f "$record" "$figures" "$cases"' EXIT
export EVENTBUS_TEST_RECORD=$record EVENTBUS_FIGURES=$figures EVENTBUS_TEST_CASES=$cases

report=(-record "$record" -figures "$figures" -cases "$cases" ${missing[@]+"${missing[@]}"})
if $ci; then report+=(-strict); fi
pkg=${PKG:-./...}
# The full size is for drivers, and for the bus and the adapter on real servers; the suite's own tests are about fakes.
if [ "${EVENTBUS_FULL:-}" = 1 ] && [ -z "${PKG:-}" ]; then
	pkg="./internal/faults ./internal/behaviour ./watermill $(go list ./brokers/... | grep -v /brokertest | tr '\n' ' ')"
fi
if [ "$EVENTBUS_REQUIRE_REAL$pkg${TESTFLAGS:-}" = "1./..." ]; then
	report+=(-expect redis -expect nats -expect kafka -expect rabbitmq)
	for scheme in $(go run ./internal/delivery -schemes); do report+=(-url "$scheme"); done
fi

# Compile on all processors; then run one package at a time, since tests of broken brokers measure time.
# The flags are split on purpose.
# shellcheck disable=SC2086
{
	go build ${race[@]+"${race[@]}"} $pkg </dev/null >/dev/null 2>&1
	go run ./internal/testreport "${report[@]}" -- ${race[@]+"${race[@]}"} -p 1 -timeout ${TESTTIMEOUT:-20m} ${TESTFLAGS:-} $pkg </dev/null
}
