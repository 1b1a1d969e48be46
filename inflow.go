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
}

// part is what has come of something that is not complete.
type part struct {
	begun   bool
	data    []byte
	owed    int  // what was charged for it and not returned
	long    bool // it is too long: its parts are dropped
	claimed bool // it has asked for memory to be completed in
	granted bool // it has it
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
	large  [][]byte
}

// add appends an item. Its payload is copied if it is shared.
func (q *items) add(flag Flag, payload []byte, shared bool, cost int, bufs *buffers) {
	it := item{flag: flag, cost: uint32(cost), n: uint32(len(payload))}
	if !shared {
		it.kind, it.at = largeItem, uint32(len(q.large))
		q.large = append(q.large, payload)
		q.list = append(q.list, it)
		return
	}
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

// clear empties the queue and returns what its items took from index i on.
func (q *items) clear(i int, bufs *buffers) (cost int) {
	for _, it := range q.list[i:] {
		cost += int(it.cost)
	}
	for _, chunk := range q.chunks {
		bufs.put(chunk)
	}
	clear(q.chunks)
	clear(q.large)
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

// add adds the payload of a piece that took cost. It is dropped if the whole
// would exceed limit. claim tells that memory has to be asked for, and unclaim that it isn't needed any more.
func (pt *part) add(in *inflow, p *received, cost, limit int) (claim, unclaim bool) {
	pt.begun = true
	switch {
	case in.drop || pt.long || len(pt.data)+len(p.payload) > limit:
		in.window.Return(cost + pt.owed)
		unclaim = pt.claimed
		*pt = part{begun: true, long: !in.drop}
		return false, unclaim
	case len(pt.data) == 0 && !p.shared:
		pt.data = p.payload
	default:
		pt.data = appendPart(pt.data, p.payload, limit)
	}
	if pt.granted {
		in.window.Return(cost)
		return false, false
	}
	pt.owed += cost
	return pt.ask(in), false
}

// ask reports whether memory has to be asked for, and has been from then on.
func (pt *part) ask(in *inflow) bool {
	if !in.wants || pt.claimed || !pt.begun || pt.long || in.drop {
		return false
	}
	pt.claimed = true
	return true
}

// appendPart is append whose result has room for at most limit bytes.
func appendPart(data, more []byte, limit int) []byte {
	need := len(data) + len(more)
	if need > cap(data) {
		data = append(make([]byte, 0, min(max(2*cap(data), need), limit)), data...)
	}
	return append(data, more...)
}

// finish completes what has come in pieces with the payload of the last packet. It is too
// long if long is true, and owed is what is still charged for the pieces. claimed tells that it
// has asked for memory.
func (pt *part) finish(payload []byte, limit int) (whole []byte, long bool, owed int, claimed bool) {
	whole, long = payload, pt.long
	switch {
	case long || len(pt.data)+len(payload) > limit:
		whole, long = nil, true
	case pt.begun:
		whole = appendPart(pt.data, payload, limit)
	}
	owed, claimed = pt.owed, pt.claimed
	*pt = part{}
	return whole, long, owed, claimed
}

// payload returns the bytes of the item it, which is next in what was taken off the queue.
func (in *inflow) payload(it item, bufs *buffers) []byte {
	bufs.put(in.spent)
	in.spent = nil
	switch it.kind {
	case largeItem:
		in.spent = in.taking.large[it.at]
		in.taking.large[it.at] = nil
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
	cost = in.taken + in.taking.clear(in.next, bufs)
	bufs.put(in.spent)
	in.spent = nil
	in.taken, in.next, in.chunk = 0, 0, -1
	return cost
}
