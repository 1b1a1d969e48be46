package flyrpc

// frame is a packet to be written.
type frame struct {
	flag Flag
	seq  uint16
	code string
	path bool // code is a path, for which a learned code may stand
	meta []byte
	body []byte
	// keep means that body may be held until it is written; else it is copied.
	keep bool
	// lent is the connection's buffer that body is in, which goes back when body is written, or nil.
	lent []byte
	// bulk means that the packet waits until little is queued, so that others wait little behind it.
	bulk bool
	// of is the stream that the frame is one of, or nil. The frame isn't queued once the call has ended, whose
	// sequence may be another's then.
	of *Stream
	// lazy means that more is likely to follow at once, so that a worker is to do the writing.
	lazy bool
	// zipped is the borrowed buffer that a compressed body is in, or nil.
	zipped *[]byte
	// answers is the request that the frame is the response to, or nil. It leaves the
	// open calls just before the frame is queued: after it, the peer may use its sequence again.
	answers *incoming
	// patient means that the goroutine that has the response needn't wait where there is no room for it: the writer
	// keeps it, and queues it in its turn.
	patient bool
}

// size returns the bytes of f's payload on the wire.
func (f *frame) size() int {
	if len(f.meta) == 0 {
		return len(f.body)
	}
	return uvarintLen(uint64(len(f.meta))) + len(f.meta) + len(f.body)
}

// segment is a run of bytes that is to be written.
type segment struct {
	b     []byte
	lent  []byte // the buffer that b is at the end of; it goes back when b is written
	own   bool   // the reader's answers, which don't count as the stream of packets
	open  bool   // b ends within a packet, whose rest is the next segment
	whole int    // and so many bytes of b are before that packet
}

// append adds f to the queue.
func (w *writer) append(f *frame) {
	before, code := w.queued, f.code
	if f.path {
		code = w.taught.code(code)
	}
	need := 3 + len(code) + 1 + 8 + 2 + len(f.meta)
	switch {
	case w.single:
		b := appendHeader(make([]byte, 0, need+len(f.body)), f.flag, f.seq, code, f.meta, len(f.body))
		w.push(segment{b: append(b, f.body...)})
		w.large = w.large || !w.packets
		w.bufs.put(f.lent)
	case len(f.body) >= largeBody:
		s := w.room(need)
		n := len(s.b)
		s.b = appendHeader(s.b, f.flag, f.seq, code, f.meta, len(f.body))
		w.queued += len(s.b) - n
		s.open, s.whole = true, n
		b, lent := f.body, f.lent
		if !f.keep && lent == nil {
			b = w.bufs.copyOf(b)
			lent = b
		}
		w.push(segment{b: b, lent: lent})
		w.large = true
	default:
		s := w.room(need + len(f.body))
		n := len(s.b)
		s.b = appendHeader(s.b, f.flag, f.seq, code, f.meta, len(f.body))
		s.b = append(s.b, f.body...)
		w.queued += len(s.b) - n
		w.bufs.put(f.lent)
	}
	w.appended += uint64(w.queued - before)
	w.load.Store(int64(w.queued))
}

// room returns the last segment, which has space for n more bytes. n is at most
// bufferSize.
func (w *writer) room(n int) *segment {
	if last := len(w.queue) - 1; last >= 0 {
		if s := &w.queue[last]; s.lent != nil && cap(s.b)-len(s.b) >= n {
			return s
		}
	}
	b := w.bufs.get()[:0]
	w.queue = append(w.queue, segment{b: b, lent: b})
	return &w.queue[len(w.queue)-1]
}

// push adds a segment that is complete.
func (w *writer) push(s segment) {
	w.queue = append(w.queue, s)
	w.queued += len(s.b)
}

// keepWaiting keeps a response for which there is no room, without a goroutine: of a peer that doesn't read there may be as many as
// it may make calls. It is called with the lock held, while something is queued.
func (w *writer) keepWaiting(f *frame) {
	kept := *f
	switch {
	case len(kept.body) < largeBody: // whoever encoded it uses the buffer again, also where keep is set, and a lent one may be far larger
		kept.body = append([]byte(nil), kept.body...)
		w.bufs.put(kept.lent)
		kept.lent = nil
	case kept.lent == nil && !kept.keep:
		kept.lent = w.bufs.copyOf(kept.body)
		kept.body = kept.lent
	}
	w.waiting = append(w.waiting, kept)
}

// letIn tells those who wait that there is room, and queues the responses that wait, as many as fit. If others wait too, every second time is
// theirs alone: a piece, or what is about as large as the queue, has no room beside the first response. It reports whether it has
// queued any. It is called with the lock held.
func (w *writer) letIn() (queued bool) {
	others := w.space != nil
	if others {
		close(w.space)
		w.space = nil
	}
	if w.stepped = others && !w.stepped && !w.rush; w.stepped {
		return false
	}
	n := 0
	for ; n < len(w.waiting); n++ {
		f := &w.waiting[n]
		if !w.rush && w.queued > 0 && w.queued+len(f.body) > w.max {
			break
		}
		c := f.answers.conn
		c.in.remove(f.answers)
		w.append(f)
		c.progress()
	}
	clear(w.waiting[:n])
	if w.waiting = w.waiting[n:]; len(w.waiting) == 0 {
		w.waiting = nil
	}
	return n > 0
}

// dropWaiting drops the responses that wait. It is called with the lock held.
func (w *writer) dropWaiting() {
	for i := range w.waiting {
		f := &w.waiting[i]
		f.answers.conn.in.remove(f.answers)
		w.bufs.put(f.lent)
		f.answers.conn.progress()
	}
	w.waiting = nil
}
