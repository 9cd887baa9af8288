// Package overflow brings what a subscription without durability has received to its sink, in order: messages and, between them, the
// marks for Ready and Gap. Putting never waits. What does not fit while the sink is slow is dropped, and counted by a gap where it
// would have been. Package handover is for drivers that drop nothing.
package overflow
