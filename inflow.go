package flyrpc

import (
	"fmt"
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// inflow is what comes for one call in one direction beside its request or response: items, and
// parts of what is larger than a packet. The reader puts in, the program takes out.
type inflow struct {
	mu      sync.Mutex
	window  flow.Window
	queue   items // what the program hasn't taken
	part    part
	wants   bool          // what isn't complete is waited for
	drop    bool          // what comes is dropped
	cut     bool          // it is because the context has ended, so the end that comes is none
	stray   bool          // the caller said that it sends none
	ended   bool          // the caller has ended its items
	over    bool          // the call has ended: no more credit is granted
	waiting bool          // the program waits at ready
	ready   chan struct{} // capacity 1: something has come

	taking items  // the program's own: what it took off the queue last
	next   int    // of taking
	chunk  int    // of taking, that the next item is in, or in the one after it
	taken  int    // what the items took that the program has used since it last said so
	half   int    // half of the window
	spent  []byte // the last large item's memory, if it may be used again
	lent   bool   // the last item's memory is still read, whatever ends
}

// item is an item in a queue.
type item struct {
	flag Flag
	kind itemKind
	cost uint32
	at   uint32 // where it is in its chunk, or which of the large ones it is
	n    uint32
}

// itemKind says where an item's bytes are.
type itemKind uint8

const (
	smallItem itemKind = iota // in the chunk
	nextChunk                 // at the beginning of the chunk after that
	largeItem                 // in memory of its own
	longItem                  // nowhere: it was too long
)

// items is a queue of items. Small ones share chunks, which are buffers of the connection.
type items struct {
	list   []item
	chunks [][]byte
	large  []pieces
}

// addLarge appends an item that is in memory of its own.
func (q *items) addLarge(flag Flag, whole pieces, cost int, bufs *buffers) {
	if len(q.large) >= maxLoose {
		whole.fit(bufs)
	}
	q.list = append(q.list, item{flag: flag, kind: largeItem, cost: uint32(cost), at: uint32(len(q.large))})
	q.large = append(q.large, whole)
}

// add appends an item whose payload is copied.
func (q *items) add(flag Flag, payload []byte, cost int, bufs *buffers) {
	it := item{flag: flag, cost: uint32(cost), n: uint32(len(payload))}
	last := len(q.chunks) - 1
	if last < 0 || cap(q.chunks[last])-len(q.chunks[last]) < len(payload) {
		q.chunks = append(q.chunks, bufs.get()[:0])
		last++
		it.kind = nextChunk
	}
	it.at = uint32(len(q.chunks[last]))
	q.chunks[last] = append(q.chunks[last], payload...)
	q.list = append(q.list, it)
}

// maxLoose is how many large items may wait in more memory than they need.
const maxLoose = 2

// clear empties the queue and returns what its items took from index i on.
func (q *items) clear(i int, bufs *buffers) (cost int) {
	for _, it := range q.list[i:] {
		cost += int(it.cost)
	}
	for _, chunk := range q.chunks {
		bufs.put(chunk)
	}
	for i := range q.large {
		q.large[i].free(bufs)
	}
	clear(q.chunks)
	q.list, q.chunks, q.large = q.list[:0], q.chunks[:0], q.large[:0]
	if cap(q.list) > maxKeptItems {
		*q = items{}
	}
	return cost
}

// maxKeptItems is the longest list of items that is kept to be used again.
const maxKeptItems = 4 << 10

// take charges the packet p and reports what it took.
func (in *inflow) take(p *received) (cost int, err error) {
	cost = flow.Cost(int(p.length))
	if err := in.window.Take(cost); err != nil {
		return 0, fmt.Errorf("call %d: %w", p.seq, err)
	}
	return cost, nil
}

// payload returns the bytes of the item it, which is next in what was taken off the queue.
func (in *inflow) payload(it item, bufs *buffers) []byte {
	bufs.put(in.spent)
	in.spent = nil
	switch it.kind {
	case largeItem:
		in.spent = in.taking.large[it.at].joinLent(bufs)
		return in.spent
	case nextChunk:
		if in.chunk++; in.chunk > 0 {
			bufs.put(in.taking.chunks[in.chunk-1])
			in.taking.chunks[in.chunk-1] = nil
		}
	}
	end := it.at + it.n
	return in.taking.chunks[in.chunk][it.at:end:end]
}

// empty drops what is left of what was taken off the queue, and returns what is to be given back for it and for
// what was taken before.
func (in *inflow) empty(bufs *buffers) (cost int) {
	if in.lent {
		clear(in.taking.chunks)
		in.spent = nil
	}
	cost = in.taken + in.taking.clear(in.next, bufs)
	bufs.put(in.spent)
	in.spent = nil
	in.taken, in.next, in.chunk = 0, 0, -1
	return cost
}
