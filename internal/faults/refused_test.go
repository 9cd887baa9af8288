package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestWrongCredentialsAreToldByHealthAndShowNoPassword(t *testing.T) {
	const right, wrong = "swordfish-in-the-server", "hunter2-of-the-client"
	at := func(userinfo string) func(string) string {
		return func(addr string) string { return "redis://" + userinfo + addr }
	}
	for _, test := range []struct {
		name   string
		url    func(addr string) string
		health string // what Health says
		run    string // what Run returns
	}{
		{"no password", at(""), "NOAUTH", "NOAUTH"},
		{"a wrong password", at(":" + wrong + "@"), "WRONGPASS", "WRONGPASS"},
		{"a user that is not there", at("nobody:" + wrong + "@"), "WRONGPASS", "WRONGPASS"},
		{"a user who may not subscribe here", at("limited:" + wrong + "@"), "", "NOPERM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			redis := testbroker.StartRedis(t, testbroker.RedisOptions{Password: right})
			_, err := redis.Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">"+wrong, "+ping", "+publish", "+subscribe",
				"+client", "resetchannels", "&elsewhere.*")
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, connect(t, test.url(redis.Addr())), bus.Config{}, bus.Hooks{})
			y := newTally("all", 10, "user_service.events.all")
			w.count(y)
			w.start()
			var said []string
			say := func(err error, want string) {
				t.Helper()
				switch {
				case want == "" && err == nil:
				case err == nil || !strings.Contains(err.Error(), want):
					t.Errorf("got %v, which does not say %q", err, want)
				default:
					said = append(said, err.Error())
				}
			}
			select {
			case err := <-w.ran:
				say(err, test.run)
			case <-time.After(patience):
				t.Fatal("Run goes on although the subscription cannot be had")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			health := w.Health(ctx)
			if test.health == "" {
				test.health = `"all"`
			}
			say(health, test.health)
			began := time.Now()
			say(w.Publish(ctx, numbered(0)), "not confirmed")
			for i := range 10 {
				if err := w.Emit(t.Context(), numbered(i)); err != nil {
					t.Errorf("Emit returned %v", err)
				}
			}
			if took := time.Since(began); took > within(time.Second) {
				t.Errorf("a refusal was waited for, for %v", took)
			}
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = w.Close(closing)
			w.balanced()
			for _, secret := range []string{right, wrong} {
				if strings.Contains(strings.Join(said, "\n")+w.log.says(), secret) {
					t.Errorf("a password is in the output:\n%s\n%s", strings.Join(said, "\n"), w.log.says())
				}
			}
			figure(t, "refused: "+test.name, "Health: %v", health)
		})
	}
}
