//go:build !linux

package main

import "time"

// tick calls n times at an even pace. Only Linux has a timer that a goroutine can be parked on for 100 us.
func tick(n int, interval time.Duration, call func(i int) error) error {
	return spin(n, interval, call)
}
