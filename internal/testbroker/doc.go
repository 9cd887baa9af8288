// Package testbroker starts real servers for tests, benchmarks and examples, and breaks them: it kills, freezes and
// restarts them, and puts a proxy with faults before them.
//
// A server listens on a free loopback port, keeps its files in a temporary folder, and is stopped by its process id. It
// does not outlive the program that started it, not even one that is killed (on Linux). Nothing here touches a process
// that it did not start.
//
// A test that means to learn something about the server itself takes [RealRedis]: it is skipped by name where no
// redis-server is installed, and fails instead of skipping where the environment variable EVENTBUS_REQUIRE_REAL is 1,
// as make test and CI set it. A test that only needs the protocol takes [AnyRedis], which falls back to a server in
// this process.
//
// [StartKafka] starts Apache Kafka, a single node in KRaft mode, out of its jars: see [EnvKafka]. Its fake for a test that
// only needs the protocol is franz-go's.
//
// [NATSOptions].Clock and [RedisOptions].Clock start servers whose clock can be moved.
//
// [StartRabbitMQ] starts RabbitMQ, a single node, with an epmd of its own. There is no fake of it.
//
// Where EVENTBUS_TEST_RECORD names a file, each start appends one line to it, the broker such as "redis", "real" or
// "in-process", the version and the test's name, separated by tabs, so that a test run can end with what it was run against.
package testbroker
