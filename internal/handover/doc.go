// Package handover carries what a driver has received from the goroutine that receives it to the sink, which may
// block, in order: deliveries, and between them the marks for Ready and Gap. Nothing is dropped; who puts bounds what
// is held.
package handover
