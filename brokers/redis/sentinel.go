package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/tlsfile"
)

// hosts are sentinels, which know where the master is
// (https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel).
//
// They are asked for each connection. Suppose a master fails over: its connections end, since it is gone, or since it
// answers READONLY, which ends a connection, too (by go-redis, which replyBuffer tells of it), or because a sentinel
// closes those of Pub/Sub; and each new one goes to the new master.
type hosts struct {
	master string
	addrs  []string
	client goredis.Options // of a connection to a sentinel, without an address
}

// sentinelParams are the parameters of sentinels.
type sentinelParams struct {
	master, user string
	password     tlsfile.Source
}

func readSentinel(u *brokers.URL) sentinelParams {
	return sentinelParams{
		master: u.Param("sentinel", ""), user: u.Param("sentinel_user", ""),
		password: readSource(u, "sentinel_"),
	}
}

// finish sets the address of opt, or returns the sentinels that know it.
func (p sentinelParams) finish(u *brokers.URL, opt *goredis.Options, sec *secure) (_ *hosts, err error) {
	if p.master == "" {
		if p.user != "" || p.password.Given() {
			return nil, errors.New("sentinel_user and sentinel_password need sentinel=, the name of the master")
		}
		opt.Addr, err = address(u.Host, "6379")
		return nil, err
	}
	h := &hosts{master: p.master}
	for _, host := range strings.Split(u.Host, ",") {
		addr, err := address(host, "26379")
		if err != nil {
			return nil, err
		}
		h.addrs = append(h.addrs, addr)
	}
	opt.Addr = "sentinel:" + p.master // what CLIENT LIST and errors would show; nobody dials it
	h.client = goredis.Options{
		Protocol: 2, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, DisableIdentity: true, ContextTimeoutEnabled: true,
		DialTimeout: opt.DialTimeout, ReadTimeout: opt.ReadTimeout, WriteTimeout: opt.WriteTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	d := &net.Dialer{Timeout: opt.DialTimeout}
	h.client.Dialer = d.DialContext
	if sec != nil {
		h.client.Dialer = sec.dialer(d)
	}
	if err := authenticate(&h.client, p.user, "", p.password); err != nil {
		return nil, fmt.Errorf("sentinel_%w", err) // it begins with the parameter
	}
	return h, nil
}

// dialer returns a dialer that asks where the master is, and dials there.
func (h *hosts) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		addr, err := h.find(ctx)
		if err != nil {
			return nil, err
		}
		return dial(ctx, network, addr)
	}
}

// find asks one sentinel after the other, each for its share of the time that is left.
func (h *hosts) find(ctx context.Context) (string, error) {
	var errs []error
	for i, sentinel := range h.addrs {
		addr, err := h.ask(ctx, sentinel, len(h.addrs)-i)
		if err == nil {
			return addr, nil
		}
		errs = append(errs, fmt.Errorf("sentinel %s: %w", sentinel, err))
	}
	return "", errors.Join(errs...)
}

func (h *hosts) ask(ctx context.Context, sentinel string, left int) (string, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	opt := h.client
	opt.Addr = sentinel
	opt.Dialer = quietly(opt.Dialer)
	client := goredis.NewSentinelClient(&opt)
	defer func() { _ = client.Close() }()
	at, err := client.GetMasterAddrByName(ctx, h.master).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return "", fmt.Errorf("it knows no master %q", h.master)
	case err != nil:
		return "", err
	case len(at) != 2:
		return "", errReply
	}
	return net.JoinHostPort(at[0], at[1]), nil
}

// quietly is dial without an error that the client would write to a log of its own: see stillborn.
func quietly(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return stillborn{&dialError{err}}, nil
		}
		return nc, nil
	}
}
