#!/bin/sh
# Installs what the subscribers in Python and Node.js need: redis-py into .cache/venv at the root of the
# repository, and the package redis into node/node_modules. Run again, it does nothing and takes no time.
#
# It ends with status 1 and says what is missing where one of the two could not be set up; the other one is set up all
# the same.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=$here/../../.cache
venv=$cache/venv
missing=0

say() { printf 'subscribers: %s\n' "$*" >&2; }

lack() {
	say "$*"
	missing=1
}

# get_venv installs the module venv, which Debian ships apart from Python, where we may.
get_venv() {
	command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
	say "installing python3-venv by apt-get"
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq python3-venv >/dev/null 2>&1 ||
		{ apt-get update -qq && apt-get install -y -qq python3-venv; } >/dev/null 2>&1
}

# make_venv makes a virtual environment, by the module venv or by virtualenv.
make_venv() {
	rm -rf "$venv"
	python3 -m venv "$venv" >/dev/null 2>&1 && return
	get_venv && python3 -m venv --clear "$venv" >/dev/null 2>&1 && return
	python3 -m virtualenv -q "$venv" >/dev/null 2>&1
}

set_up_python() {
	cmp -s "$here/python/requirements.txt" "$venv/.installed" && return
	command -v python3 >/dev/null || {
		lack "python3 is not installed: install Python 3.10 or later"
		return
	}
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
		lack "$(python3 --version) is too old: install Python 3.10 or later"
		return
	}
	make_venv || {
		lack "python3 has no module venv: install the package python3-venv, or virtualenv"
		return
	}
	"$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/python/requirements.txt" || {
		lack "pip could not install redis-py"
		return
	}
	cp "$here/python/requirements.txt" "$venv/.installed" # last: what was interrupted begins again
}

set_up_node() {
	cmp -s "$here/node/package-lock.json" "$here/node/node_modules/.installed" && return
	{ command -v node && command -v npm; } >/dev/null || {
		lack "node or npm is not installed: install Node.js 18 or later"
		return
	}
	node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || {
		lack "Node.js $(node --version) is too old: install Node.js 18 or later"
		return
	}
	(cd "$here/node" && npm ci --silent) || {
		lack "npm ci could not install the package redis"
		return
	}
	cp "$here/node/package-lock.json" "$here/node/node_modules/.installed"
}

mkdir -p "$cache"
set_up_python
set_up_node
exit $missing
