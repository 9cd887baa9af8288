#!/usr/bin/env bash
# Finds rabbitmq-server, or gets it by the package manager. It starts nothing: the tests start servers of their own, and
# nothing of the system's is used or changed.
#
# Exit status 0: there is one. 1: there is none, and the reason is the only line on standard output.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The packages' own program. The one that they put into the PATH insists on root or on a user of its own.
found() { have epmd && { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || have rabbitmq-server; }; }

# from_apt keeps the package from starting its service on port 5672: Debian's scripts ask policy-rc.d first. One that is there
# already is left alone.
from_apt() {
	have apt-get || return 1
	local policy=/usr/sbin/policy-rc.d ours=false status
	if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy"; then
		ours=true
	fi
	if ! [ -e "$policy" ]; then
		say "  RabbitMQ: its service would be started on port 5672, and cannot be kept from it"
		return 1
	fi
	apt_install rabbitmq-server
	status=$?
	if $ours; then as_root rm -f "$policy"; fi
	if have systemctl; then as_root systemctl disable rabbitmq-server >/dev/null 2>&1 </dev/null; fi
	return $status
}

from_other() {
	have apt-get && return 1
	install - rabbitmq-server rabbitmq-server rabbitmq
}

if found; then exit 0; fi
say "RabbitMQ: installing the package rabbitmq-server"
if from_apt || from_other; then
	hash -r
	found && exit 0
fi
echo "rabbitmq-server is neither installed nor to be had by the package manager (see above); install it and run again"
exit 1
