package main

import (
	"fmt"
	"math"
)

// A row is one line of the table.
type row struct {
	what   string
	got    sample
	ratios ratio
	base   string // what the ratio is to
	target string
	met    verdict
}

type verdict int

const (
	noTarget verdict = iota
	met
	missed
)

func (v verdict) String() string { return [...]string{"", "yes", "NO"}[v] }

// baseRow is a line for what ours is compared with.
func baseRow(what string, runs []sample) row {
	return row{what: what, got: medians(runs), ratios: noRatio}
}

// need sets the target of a row, and whether all conditions hold.
func (r row) need(target string, conditions ...bool) row {
	r.target, r.met = target, met
	for _, ok := range conditions {
		if !ok {
			r.met = missed
		}
	}
	return r
}

// The keys of the JSON object, which scripts read.
const (
	keyEmitMean     = "emit_mean_ns"
	keyEmitP50      = "emit_p50_ns"
	keyEmitAllocs   = "emit_allocs"
	keyPub3Raw      = "redis_pub_3ch_vs_raw"
	keyPub3Loop     = "redis_pub_3ch_vs_loop"
	keyPub1Raw      = "redis_pub_1ch_vs_raw"
	keySub          = "redis_sub_vs_watermill"
	keyMemory       = "memory_ns"
	keyMemoryAllocs = "memory_allocs"
	keyMemoryBase   = "memory_vs_gochannel"
	keyLatency      = "latency_p99_vs_sync"
	keyPublish64    = "publish64_vs_sync"
	keyEncode       = "encode_vs_json"
	keyDecode       = "decode_vs_json"
)

var allKeys = []string{
	keyEmitMean, keyEmitP50, keyEmitAllocs, keyPub3Raw, keyPub3Loop, keyPub1Raw, keySub, keyMemory, keyMemoryAllocs,
	keyMemoryBase, keyLatency, keyPublish64, keyEncode, keyDecode,
}

// figures are the values of the JSON object by key.
type figures map[string]float64

// check reports a key without a value, and a value that is no number.
func (f figures) check() error {
	for _, key := range allKeys {
		v, ok := f[key]
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s was not measured", key)
		}
	}
	return nil
}
