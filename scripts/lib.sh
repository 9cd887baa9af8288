# shellcheck shell=bash
# Helpers of the scripts in this folder. Source it; it changes to the repository's root and sets nothing but functions,
# $root and the PATH, which gets .cache/bin in front.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
export PATH="$root/.cache/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
die() { say "$@"; exit 1; }

# within SECONDS COMMAND...: run a command that may hang, where the machine has a way to end it.
within() {
	local seconds=$1
	shift
	if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# as_root COMMAND...: run a command as root. It asks for a password only where somebody can type it.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -z "${CI:-}" ]; }; }; then
		say "  running as root: $*"
		sudo "$@"
	else
		say "  cannot become root without a password; run this yourself: $*"
		return 1
	fi
}

# apt_install PACKAGE...: a fresh machine has no package lists, so a first failure is followed by an update.
apt_install() {
	local install=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends)
	as_root "${install[@]}" "$@" >&2 </dev/null && return
	as_root apt-get -o DPkg::Lock::Timeout=120 update >&2 </dev/null && as_root "${install[@]}" "$@" >&2 </dev/null
}

# install APT DNF APK BREW: install what a package manager calls by these names; "-" where it has no such package. Several
# names in one argument are separated by spaces.
install() {
	# The names are split on purpose.
	# shellcheck disable=SC2086
	if have apt-get && [ "$1" != - ]; then
		apt_install $1
	elif have dnf && [ "$2" != - ]; then
		as_root dnf install -y $2 >&2 </dev/null
	elif have apk && [ "$3" != - ]; then
		as_root apk add --no-cache $3 >&2 </dev/null
	elif have brew && [ "$4" != - ]; then
		brew install $4 >&2 </dev/null
	else
		say "  no package manager that this script knows (apt-get, dnf, apk, brew)"
		return 1
	fi
}
