package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A host is where and when something was measured.
type host struct {
	when  time.Time
	cpu   string
	redis string
}

func thisHost(redis string) host { return host{when: time.Now(), cpu: cpuName(), redis: redis} }

// String is one line.
func (h host) String() string {
	return fmt.Sprintf("%s, %s, %d cores, %s %s/%s, redis-server %s on the same cores",
		h.when.Format(time.DateOnly), h.cpu, runtime.GOMAXPROCS(0), runtime.Version(), runtime.GOOS, runtime.GOARCH, h.redis)
}

// busy says what else the machine does, where Linux tells; empty where it does next to nothing.
func busy() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil || load < 0.5 {
		return ""
	}
	return fmt.Sprintf("the machine is busy (load %.1f): figures are too low and ratios uncertain", load)
}

// cpuName is what Linux calls the processor; elsewhere only its architecture is known.
func cpuName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
