#!/usr/bin/env bash
# Finds Apache Kafka, or gets it: its jars and those that it needs, by Maven, into .cache/kafka. It needs Java 17 or later,
# which it installs by the package manager with Maven where they are missing. It starts nothing.
#
# Exit status 0: there is one. 1: there is none, and the reason is the only line on standard output.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

jars=$root/.cache/kafka

complete() { compgen -G "$1/kafka_2.13-*.jar" >/dev/null && compgen -G "$1/kafka-clients-*.jar" >/dev/null; }

if ! have java; then
	say "Kafka: installing Java"
	install "openjdk-17-jre-headless" "java-17-openjdk-headless" "openjdk17-jre-headless" "openjdk@17" || true
	hash -r
	have java || {
		echo "Kafka needs Java 17 or later, which is not installed and could not be (see above)"
		exit 1
	}
fi
if complete "${EVENTBUS_KAFKA_JARS:-$jars}"; then exit 0; fi
if ! have mvn; then
	say "Kafka: installing Maven"
	install maven maven maven maven || true
	hash -r
	have mvn || {
		echo "Kafka's jars come by Maven, which is not installed and could not be (see above)"
		exit 1
	}
fi
say "Kafka: copying its jars into .cache/kafka"
rm -rf "$jars.new"
within 600 mvn -B -q -f scripts/kafka.pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
	-DincludeScope=runtime -DoutputDirectory="$jars.new" >&2 </dev/null
if complete "$jars.new"; then
	rm -rf "$jars"
	mv "$jars.new" "$jars"
	exit 0
fi
rm -rf "$jars.new"
echo "Kafka's jars could not be had by Maven (see above)"
exit 1
