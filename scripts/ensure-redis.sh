#!/usr/bin/env bash
# Finds redis-server, or gets it: from the PATH, from .cache/bin, out of the official image where a Docker engine answers,
# or else by the package manager. It starts nothing. What it gets is in .cache/bin or on the PATH.
#
# Exit status 0: there is one that runs. 1: there is none, and the reason is the only line on standard output.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

image=redis:7.4-bookworm
cached=$root/.cache/bin/redis-server

runs() { within 10 "$1" --version >/dev/null 2>&1; }

# from_docker copies the program out of the image: nothing of it is run by the engine.
from_docker() {
	[ "$(uname -s)" = Linux ] || return 1 # the image's program is for Linux
	have docker && within 5 docker info >/dev/null 2>&1 </dev/null || return 1
	say "redis-server: copying it out of the Docker image $image"
	local id
	id=$(within 180 docker create "$image" </dev/null) || return 1
	mkdir -p "$root/.cache/bin"
	within 60 docker cp "$id:/usr/local/bin/redis-server" "$cached.new" >&2 </dev/null
	docker rm "$id" >/dev/null 2>&1 </dev/null
	keep "$cached.new"
}

# keep moves a program to its place if it runs here: the image's one needs a C library that is not older than its own.
keep() {
	if [ -e "$1" ] && runs "$1"; then
		mv -f "$1" "$cached"
	else
		rm -f "$1"
		say "redis-server: that one does not run here"
		return 1
	fi
}

# from_apt prefers redis-tools: its redis-check-rdb is the server's own program, which acts by the name it is called by,
# and the package has no service that the system would start. redis-server's package starts one.
from_apt() {
	have apt-get || return 1
	say "redis-server: installing the package redis-tools"
	if apt_install redis-tools && have redis-check-rdb; then
		mkdir -p "$root/.cache/bin" "$root/.cache/try"
		ln -sf "$(command -v redis-check-rdb)" "$root/.cache/try/redis-server"
		if "$root/.cache/try/redis-server" --version 2>/dev/null | grep -qi 'server v='; then
			mv -f "$root/.cache/try/redis-server" "$cached"
			return
		fi
	fi
	say "redis-server: installing the package redis-server; the system may start a service of it on port 6379, which the"
	say "  tests do not use ('systemctl disable --now redis-server' ends it)"
	apt_install redis-server && have redis-server
}

from_other() {
	have apt-get && return 1
	say "redis-server: installing the package redis"
	install - redis redis redis && have redis-server
}

if [ -e "$cached" ] && ! runs "$cached"; then
	say "redis-server: the one in .cache/bin does not run here; looking for another"
	rm -f "$cached"
fi
hash -r
if have redis-server && runs redis-server; then exit 0; fi
if from_docker || from_apt || from_other; then
	hash -r
	have redis-server && runs redis-server && exit 0
fi
echo "redis-server is neither installed nor to be had from a Docker engine or the package manager (see above); install it and run again"
exit 1
