package memory

import (
	"container/heap"
	"time"
)

// A delayHeap has the entries that are not due, the next one first.
type delayHeap []delayed

type delayed struct {
	*entry
	due time.Time
}

func (h delayHeap) Len() int { return len(h) }
func (h delayHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}
func (h delayHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)   { *h = append(*h, x.(delayed)) }
func (h *delayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = delayed{}
	*h = old[:len(old)-1]
	return e
}

func (h *delayHeap) pop() *entry { return heap.Pop(h).(delayed).entry }

// delay keeps an entry back until due.
func (q *queue) delay(e *entry, due time.Time) {
	heap.Push(&q.delayed, delayed{e, due})
	if q.delayed[0].entry == e {
		q.setTimer(time.Until(due))
	}
}

// setTimer calls timerFired after d.
func (q *queue) setTimer(d time.Duration) {
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.timerFired)
		return
	}
	q.timer.Reset(d)
}

func (q *queue) stopTimer() {
	q.delayed = nil
	if q.timer != nil {
		q.timer.Stop()
	}
}

// timerFired moves what is due to the front of the queue. It runs in the timer's goroutine, and does nothing where the
// queue was removed in the meantime or another call has moved everything.
func (q *queue) timerFired() {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	now := time.Now()
	var due []*entry
	for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
		due = append(due, q.delayed.pop())
	}
	q.ready.prependSorted(due)
	if len(q.delayed) > 0 {
		q.setTimer(time.Until(q.delayed[0].due))
	}
	q.wake()
}
