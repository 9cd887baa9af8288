package testbroker

import "strings"

// properties is the text of server.properties (https://kafka.apache.org/documentation/#brokerconfigs).
func (k *Kafka) properties() string {
	listeners := "PLAINTEXT://" + loopback(k.port) + ",CONTROLLER://" + loopback(k.controller)
	advertised := "PLAINTEXT://" + k.Addr()
	lines := []string{
		"process.roles=broker,controller", "node.id=1",
		"controller.quorum.voters=1@" + loopback(k.controller), "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,SECURE:SSL,BOTH:SASL_SSL",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + k.path("data"), "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=false",
		// To start sooner, and to read the logs of many small topics sooner after a kill: no 128 MB for a cleaner that has nothing to
		// clean, few threads, small indexes.
		"log.cleaner.enable=false", "num.io.threads=2", "num.network.threads=2", "background.threads=2",
		"num.recovery.threads.per.data.dir=2", "log.index.size.max.bytes=1048576",
		// After a crash the node waits for its own session to end before it may register again.
		"broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500",
	}
	listen := func(name string, port int) {
		listeners += "," + name + "://" + loopback(port)
		advertised += "," + name + "://" + loopback(port)
	}
	if k.opts.SASL {
		listen("LOGIN", k.sasl)
		lines = append(lines, logins("listener.name.login.")...)
		lines = append(lines, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users=User:ANONYMOUS;User:"+KafkaUser+";User:CN="+clientName)
	}
	if k.tls != nil {
		listen("SECURE", k.tlsPort)
		lines = append(lines, k.certificates("listener.name.secure.ssl.", "required")...)
	}
	if k.opts.SASL && k.tls != nil {
		listen("BOTH", k.both)
		lines = append(lines, logins("listener.name.both.")...)
		lines = append(lines, k.certificates("listener.name.both.ssl.", "none")...)
	}
	lines = append(lines, "listeners="+listeners, "advertised.listeners="+advertised)
	return strings.Join(append(lines, k.opts.Properties...), "\n") + "\n"
}

// logins are the users of a listener whose properties begin with prefix.
func logins(prefix string) []string {
	const module = "org.apache.kafka.common.security."
	users := ""
	for _, user := range []string{KafkaUser, KafkaLeastUser} {
		users += " user_" + user + "=\"" + KafkaPassword + "\""
	}
	return []string{
		prefix + "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		prefix + "plain.sasl.jaas.config=" + module + "plain.PlainLoginModule required" + users + ";",
		prefix + "scram-sha-256.sasl.jaas.config=" + module + "scram.ScramLoginModule required;",
		prefix + "scram-sha-512.sasl.jaas.config=" + module + "scram.ScramLoginModule required;",
	}
}

// certificates are those of a listener; client is required where it wants one of the client, too.
func (k *Kafka) certificates(prefix, client string) []string {
	return []string{
		prefix + "keystore.type=PEM", prefix + "keystore.location=" + k.tls.javaStore(),
		prefix + "truststore.type=PEM", prefix + "truststore.location=" + k.tls.CA, prefix + "client.auth=" + client,
	}
}
