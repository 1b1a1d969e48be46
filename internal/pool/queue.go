package pool

// minQueue is the capacity of a queue that has held anything.
const minQueue = 4

// queue holds tasks with their data, first in first out, in a ring. Its entries keep
// their buffers for later tasks.
type queue struct {
	ring []entry // its length is a power of two
	head int     // the index of the first task is head modulo len(ring)
	tail int     // and that of the next to be pushed
}

type entry struct {
	task Task
	data []byte
}

func (q *queue) len() int { return q.tail - q.head }

// push adds a task with a copy of data.
func (q *queue) push(t Task, data []byte) {
	if q.len() == len(q.ring) {
		q.grow()
	}
	e := &q.ring[q.tail&(len(q.ring)-1)]
	q.tail++
	e.task = t
	e.data = append(e.data[:0], data...)
}

// pop removes the first task, of which there must be one, and swaps its data with *in.
func (q *queue) pop(in *[]byte) Task {
	e := &q.ring[q.head&(len(q.ring)-1)]
	q.head++
	t := e.task
	e.task = nil
	*in, e.data = e.data, *in
	return t
}

// grow doubles the ring.
func (q *queue) grow() {
	ring := make([]entry, max(minQueue, 2*len(q.ring)))
	n := q.len()
	for i := range n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head, q.tail = ring, 0, n
}

// trim lets go of the memory of an empty queue.
func (q *queue) trim() {
	if q.len() == 0 {
		*q = queue{}
	}
}
