package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A story is what users do, told scene by scene. Below each scene's title appears what the subscribers make of it.
type story struct {
	out   *console
	pace  time.Duration
	auth  *authService
	users *userService
	mfa   *mfaService
	cache *permissionCache
}

// root is the administrator that every installation begins with.
const root int64 = 1

var (
	laptop   = client{ip: "203.0.113.7", userAgent: "Mozilla/5.0 (X11; Linux x86_64)"}
	stranger = client{ip: "198.51.100.23", userAgent: "curl/8.5.0"}
)

// tell tells the story once, or once a second until ctx ends.
func (s *story) tell(ctx context.Context, forever bool) error {
	everySecond := time.NewTicker(time.Second)
	defer everySecond.Stop()
	for round := 1; ; round++ {
		if err := s.once(ctx, round); err != nil || !forever {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-everySecond.C:
		}
	}
}

// once tells the story up to the scene in which ctx ends. A scene that has begun is played to its end.
func (s *story) once(ctx context.Context, round int) error {
	unhurried := context.WithoutCancel(ctx)
	for _, scene := range s.scenes(round) {
		if ctx.Err() != nil {
			return nil
		}
		s.out.title(scene.title)
		if err := scene.play(unhurried); err != nil {
			return fmt.Errorf("%s: %w", scene.title, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.pace):
		}
	}
	return nil
}

type scene struct {
	title string
	play  func(ctx context.Context) error
}

// scenes uses other e-mail addresses in each round.
func (s *story) scenes(round int) []scene {
	var (
		ada, zoe      int64
		session       string
		adasAddress   = fmt.Sprintf("ada.%d@example.com", round)
		zoesAddress   = fmt.Sprintf("zoe.%d@example.com", round)
		nobodyAddress = "mallory@example.net"
	)
	return []scene{
		{"auth: Ada registers", func(ctx context.Context) (err error) {
			ada, err = s.auth.Register(ctx, "Ada Lovelace", adasAddress, "analytical engine")
			return err
		}},
		{"auth: Zoë registers", func(ctx context.Context) (err error) {
			zoe, err = s.auth.Register(ctx, "Zoë Fröhlich 🦊", zoesAddress, "correct horse")
			return err
		}},
		{"auth: Ada signs in", func(ctx context.Context) (err error) {
			session, err = s.auth.Login(ctx, adasAddress, "analytical engine", laptop)
			return err
		}},
		{"auth: somebody guesses Zoë's password", func(ctx context.Context) error {
			return s.failToLogin(ctx, zoesAddress)
		}},
		{"auth: somebody tries an account that does not exist", func(ctx context.Context) error {
			return s.failToLogin(ctx, nobodyAddress)
		}},
		{"mfa: Ada sets up a second factor, and types in what her app shows", func(ctx context.Context) error {
			seed, err := s.mfa.Enrol(ctx, ada)
			if err != nil {
				return err
			}
			_, err = s.mfa.Confirm(ctx, ada, totp(seed, time.Now()))
			return err
		}},
		{"user: Zoë changes her name, and prefers it dark", func(ctx context.Context) error {
			return errors.Join(
				s.users.UpdateProfile(ctx, zoe, zoe, "Zoë Frühling 🦊"),
				s.users.UpdatePreferences(ctx, zoe, zoe, "dark"))
		}},
		{"user: Zoë becomes an editor, which alarms nobody", func(ctx context.Context) error {
			return s.users.AssignRole(ctx, zoe, root, "editor")
		}},
		{"user: Ada opens a page, and then becomes an administrator", func(ctx context.Context) error {
			return errors.Join(s.cache.Roles(ctx, ada), s.users.AssignRole(ctx, ada, root, "admin"))
		}},
		{"user: Ada opens two pages, and is an administrator no more", func(ctx context.Context) error {
			return errors.Join(
				s.cache.Roles(ctx, ada), s.cache.Roles(ctx, ada), s.users.RevokeRole(ctx, ada, root, "admin"))
		}},
		{"mfa: Ada switches her second factor off", func(ctx context.Context) error {
			return s.mfa.Disable(ctx, ada)
		}},
		{"auth: Ada signs out", func(ctx context.Context) error {
			return s.auth.Logout(ctx, session)
		}},
		{"user: Zoë's account is deactivated", func(ctx context.Context) error {
			return s.users.Deactivate(ctx, zoe, root, "asked to leave")
		}},
	}
}

func (s *story) failToLogin(ctx context.Context, address string) error {
	_, err := s.auth.Login(ctx, address, "123456", stranger)
	if errors.Is(err, errLoginFailed) {
		return nil // as it should
	}
	return fmt.Errorf("somebody got in: %w", err)
}
