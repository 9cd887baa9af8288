package redis

import (
	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/store/deadletter"
	"github.com/eventbus-go/eventbus/store/dedup"
	store "github.com/eventbus-go/eventbus/store/redis"
)

// This file has what a program keeps on a server that its driver can reach anyway.

// maxLettersLimit bounds the parameter max_letters.
const maxLettersLimit = 1 << 30

func init() {
	for _, scheme := range []string{"redis", "rediss", "redis+stream", "rediss+stream"} {
		deadletter.Register(scheme, openLetters)
		dedup.Register(scheme, openDedup)
	}
}

// openLetters opens the store of dead letters of a URL: its parameters are those of the driver of its scheme, and max_letters.
func openLetters(url string) (deadletter.Store, error) {
	u, err := brokers.ParseURL(url)
	if err != nil {
		return nil, err
	}
	limit := u.IntParam("max_letters", store.DefaultMaxLetters, 1, maxLettersLimit)
	client, closer, err := openClient(u)
	if err != nil {
		return nil, err
	}
	return store.NewDeadLetters(client, limit, closer), nil
}

// openDedup opens the store of handled events of a URL: its parameters are those of the driver of its scheme.
func openDedup(url string) (dedup.Store, error) {
	u, err := brokers.ParseURL(url)
	if err != nil {
		return nil, err
	}
	client, closer, err := openClient(u)
	if err != nil {
		return nil, err
	}
	return store.NewDedupWith(client, closer), nil
}

// openClient opens a client as the driver of a URL has it.
func openClient(u *brokers.URL) (client *goredis.Client, closer func() error, err error) {
	set, opt, err := readURL(u)
	if err != nil {
		return nil, nil, err
	}
	c := newConn(set, u.Scheme)
	opt.Dialer = c.dialer(set.netDialer(opt))
	client = goredis.NewClient(opt)
	return client, func() error {
		c.dials.End()
		return client.Close()
	}, nil
}
