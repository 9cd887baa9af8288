package redis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// withUser is a URL with a user and a password.
func withUser(url, user, password string) string {
	return strings.Replace(url, "://", "://"+user+":"+password+"@", 1)
}

func tlsQuery(f *testbroker.TLSFiles, client bool) string {
	q := "?tls_ca=" + f.CA
	if client {
		q += "&tls_cert=" + f.ClientCert + "&tls_key=" + f.ClientKey
	}
	return q
}

// The rights that the package comment names are enough, on a server with TLS that wants a client's certificate.
func TestAccountsWithTheLeastRightsOverTLS(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{TLS: true, Args: []string{"--tls-auth-clients", "yes"}})
	secured := func(user, more string) string {
		return withUser("rediss+stream://"+server.TLSAddr(), user, "s3cret") + tlsQuery(server.TLS(), true) + more
	}
	do(t, server, "ACL", "SETUSER", "publisher", "on", ">s3cret", "-@all", "+xadd", "~eventbus:{*}")
	do(t, server, "ACL", "SETUSER", "reader", "on", ">s3cret", "-@all", "+@stream", "+@sortedset", "+smembers", "+eval", "+evalsha",
		"+time", "~eventbus:*")
	do(t, server, "ACL", "SETUSER", "admin", "on", ">s3cret", "+@all", "~*")

	reader, r := open(t, secured("reader", "&create=false")), newRecorder()
	err := reader.Subscribe(t.Context(), group("g", orders), newRecorder())
	if err == nil || !strings.Contains(err.Error(), `no group "g"`) || reader.Retryable(err) {
		t.Errorf("a group that nobody made: %v", err)
	}
	err = reader.(brokers.Provisioner).Provision(t.Context(), brokers.Provision{Channels: []string{orders}})
	if err == nil || !strings.Contains(err.Error(), "create=false") {
		t.Errorf("Provision with create=false: %v", err)
	}
	admin := open(t, secured("admin", ""))
	p := brokers.Provision{Channels: []string{orders}, Groups: []brokers.GroupProvision{{Group: "g", Channels: []string{"shop.>"}}}}
	if err := admin.(brokers.Provisioner).Provision(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	publisher := open(t, secured("publisher", "&create=false"))
	publish(t, publisher, messages(3, orders)...)
	subscribe(t, reader, r, group("g", "shop.*"))
	eventually(t, 5*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 3 })
	settle(t, r.deliveries()[:1], brokers.Redeliver, 10*time.Millisecond)
	eventually(t, 5*time.Second, "one comes again", func() bool { return len(r.deliveries()) == 4 })
	settleAll(t, r)
	for name, c := range map[string]brokers.Conn{"publisher": publisher, "reader": reader} {
		if w := c.(brokers.Warner).Warnings(); len(w) > 0 {
			t.Errorf("%s: %q", name, w)
		}
	}

	err = publisher.Subscribe(t.Context(), group("g", orders), newRecorder())
	if err == nil || !strings.Contains(err.Error(), "NOPERM") || publisher.Retryable(err) {
		t.Errorf("a publisher that subscribes: %v", err)
	}
	if err := reader.Publish(t.Context(), messages(1, "x.y")); err != nil {
		t.Errorf("a reader may write to streams: %v", err)
	}
	bare := open(t, withUser("rediss+stream://"+server.TLSAddr(), "admin", "s3cret")+tlsQuery(server.TLS(), false))
	if err := bare.Publish(t.Context(), messages(1, orders)); err == nil {
		t.Error("it was published without a client's certificate")
	}
}

func TestAWrongPasswordIsOneClearErrorWithoutThePassword(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{TLS: true, Password: "right"})
	for _, scheme := range []string{"rediss", "rediss+stream"} {
		c := open(t, withUser(scheme+"://"+server.TLSAddr(), "default", "hunter2")+tlsQuery(server.TLS(), true))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for what, err := range map[string]error{
			"Publish":   c.Publish(ctx, messages(1, orders)),
			"Subscribe": c.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{orders}}, newRecorder()),
			"Ping":      c.(brokers.Pinger).Ping(ctx),
		} {
			if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "hunter2") || c.Retryable(err) {
				t.Errorf("%s: %s: %v", scheme, what, err)
			}
		}
	}
}

func TestAPasswordInAFileIsChangedWithoutARestart(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Password: "admin"}) // nobody gets in without one
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do(t, server, "ACL", "SETUSER", "app", "on", ">one", "+@all", "~*", "&*")
	write("one")
	for _, scheme := range []string{"redis", "redis+stream"} {
		write("one")
		do(t, server, "ACL", "SETUSER", "app", "resetpass", ">one")
		c, r := open(t, scheme+"://app@"+server.Addr()+"?password_file="+file), newRecorder()
		subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{orders}})
		publish(t, c, message(orders, "before"))
		eventually(t, 5*time.Second, "what comes before arrives", func() bool { return r.has("before") })
		write("two")
		do(t, server, "ACL", "SETUSER", "app", "resetpass", ">two")
		do(t, server, "CLIENT", "KILL", "USER", "app")
		eventually(t, 10*time.Second, "what comes after arrives", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = c.Publish(ctx, messages(1, orders)) // until it is connected again
			return r.has("body-0")
		})
	}
}

// A sentinel is a redis-server that watches a master.
func startSentinel(t *testing.T, master *testbroker.Redis) (addr string) {
	t.Helper()
	addr = testbroker.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	host, masterPort, _ := net.SplitHostPort(master.Addr())
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 500\n"+
		"sentinel failover-timeout main 2000\n", port, filepath.Dir(file), host, masterPort)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return addr
}

func TestAfterAFailoverTheNewMasterIsUsed(t *testing.T) {
	master := testbroker.StartRedis(t, always)
	host, port, _ := net.SplitHostPort(master.Addr())
	replica := testbroker.StartRedis(t, testbroker.RedisOptions{Args: append([]string{"--replicaof", host + " " + port}, always.Args...)})
	sentinel := startSentinel(t, master)
	eventually(t, 15*time.Second, "the replica is in step", func() bool {
		info, err := replica.Client().Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	url := "://127.0.0.1:1," + sentinel + "?sentinel=main&dial_timeout=1s" // the first sentinel is not there
	stored, fleeting := open(t, "redis+stream"+url), open(t, "redis"+url)
	r, f := newRecorder(), newRecorder()
	r.SettleAll() // one of the probes below may arrive after the last of them that this test looks for
	subscribe(t, stored, r, group("g", orders))
	subscribe(t, fleeting, f, brokers.Subscription{Name: "s", Channels: []string{orders}})
	publish(t, stored, message(orders, "before"))
	eventually(t, 10*time.Second, "what comes before arrives", func() bool { return r.has("before") })
	asked := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel, Protocol: 2})
	defer asked.Close()
	eventually(t, 60*time.Second, "the sentinel knows the replica, and that it is in step", func() bool {
		known, err := asked.Replicas(t.Context(), "main").Result()
		return err == nil && len(known) == 1 && known[0]["flags"] == "slave" && known[0]["master-link-status"] == "ok"
	})
	if err := master.Kill(); err != nil {
		t.Fatal(err)
	}
	// A sentinel on a machine that rests for two seconds does nothing for the next thirty.
	eventually(t, 2*time.Minute, "both go on at the new master", func() bool {
		for _, c := range []brokers.Conn{stored, fleeting} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = c.Publish(ctx, []brokers.Message{message(orders, "after")})
			cancel()
		}
		return r.has("after") && f.has("after")
	})
}
