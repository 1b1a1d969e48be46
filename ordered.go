package flyrpc

import "github.com/go-flyrpc/flyrpc/internal/pool"

// orderedQueue holds the packets of one Ordered route of a connection, which are
// handled one after the other.
type orderedQueue struct {
	inbox   *inbox
	route   *route
	packets []*incoming
}

// enqueue has in handled after the packets of its route that came before.
func (b *inbox) enqueue(in *incoming) {
	if in.shared {
		in.payload = append([]byte(nil), in.payload...)
		in.shared = false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queueUp(in)
}

// queueUp is enqueue for a packet with a payload of its own. It is called with the lock
// held.
func (b *inbox) queueUp(in *incoming) {
	if q := b.ordered[in.route.index]; q != nil {
		q.packets = append(q.packets, in)
		return
	}
	if b.ordered == nil {
		b.ordered = make(map[int]*orderedQueue)
	}
	q := &orderedQueue{inbox: b, route: in.route, packets: []*incoming{in}}
	b.ordered[in.route.index] = q
	in.conn.ep.workers.Go(q, nil)
}

// Run handles packets until there are no more.
func (q *orderedQueue) Run(w *pool.Worker) {
	in := q.next(nil)
	for in != nil {
		returned := false
		func() {
			defer func() {
				if !returned { // runtime.Goexit: the rest goes to another worker
					q.inbox.handOver(q, in)
				}
			}()
			w.Out = in.process(w.Out[:0])
			returned = true
		}()
		in = q.next(in)
	}
}

// next removes done, the packet at the head, and returns the one after it. When
// there is none the queue is gone.
func (q *orderedQueue) next(done *incoming) *incoming {
	b := q.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if done != nil {
		q.packets[0] = nil
		q.packets = q.packets[1:]
	}
	if len(q.packets) == 0 {
		delete(b.ordered, q.route.index)
		return nil
	}
	return q.packets[0]
}

// handOver continues the queue on another worker, after done.
func (b *inbox) handOver(q *orderedQueue, done *incoming) {
	if q.next(done) != nil {
		done.conn.ep.workers.Go(q, nil)
	}
}

// queueing reports whether packets of a route are in its queue.
func (b *inbox) queueing(rt *route) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ordered[rt.index] != nil
}
