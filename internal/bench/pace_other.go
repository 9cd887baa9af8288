//go:build !linux

package main

// doze returns a wait for intervals of 100 us and more. Only Linux can sleep that precisely.
func doze() (wait func(until int64), done func()) { return spin, func() {} }
