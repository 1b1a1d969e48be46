package flyrpc

import "runtime"

// part is what has come of something that is not complete.
type part struct {
	begun   bool
	got     pieces
	owed    int  // what was charged for it and not returned
	long    bool // it is too long: its parts are dropped
	claimed bool // it has asked for memory to be completed in
	granted bool // it has it
}

// add adds the payload of a piece that took cost. It is dropped if the whole
// would exceed limit. claim tells that memory has to be asked for, and unclaim that it isn't needed any more.
func (pt *part) add(in *inflow, p *received, cost, limit int, bufs *buffers) (claim, unclaim bool) {
	pt.begun = true
	if in.drop || pt.long || pt.got.n+len(p.payload) > limit {
		in.window.Return(cost + pt.owed)
		unclaim = pt.reset(bufs)
		pt.begun, pt.long = true, !in.drop
		return false, unclaim
	}
	pt.got.add(p.payload, p.shared, bufs)
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

// reset drops what has come and reports whether it has asked for memory.
func (pt *part) reset(bufs *buffers) (claimed bool) {
	claimed = pt.claimed
	pt.got.free(bufs)
	*pt = part{}
	return claimed
}

// finish completes what has come with the payload of the last packet. It is too
// long if long is true, and owed is what is still charged for the pieces. claimed tells that it
// has asked for memory.
func (pt *part) finish(payload []byte, shared bool, limit int, bufs *buffers) (whole pieces, long bool, owed int, claimed bool) {
	owed, claimed = pt.owed, pt.claimed
	if long = pt.long || pt.got.n+len(payload) > limit; long {
		pt.reset(bufs)
		return whole, long, owed, claimed
	}
	whole = pt.got
	whole.add(payload, shared, bufs)
	*pt = part{}
	return whole, false, owed, claimed
}

// pieces is a payload in the parts in which it came. The zero pieces is empty.
type pieces struct {
	parts [][]byte
	n     int // bytes in parts
}

// add appends a part, which is copied if it is shared, or if it is small and there is room for it; else it belongs
// to the pieces from then on.
func (w *pieces) add(part []byte, shared bool, bufs *buffers) {
	w.n += len(part)
	last := len(w.parts) - 1
	switch {
	case last >= 0 && cap(w.parts[last])-len(w.parts[last]) >= len(part):
		w.parts[last] = append(w.parts[last], part...)
		if !shared {
			bufs.put(part)
		}
	case shared:
		w.parts = append(w.parts, append(bufs.get()[:0], part...))
	default:
		w.parts = append(w.parts, part)
	}
}

// fit moves what is in one part into memory of its size, if that is much larger.
func (w *pieces) fit(bufs *buffers) {
	if len(w.parts) != 1 || cap(w.parts[0])-w.n <= cap(w.parts[0])/4 {
		return
	}
	fitting := append(make([]byte, 0, w.n), w.parts[0]...)
	bufs.put(w.parts[0])
	w.parts[0] = fitting
}

// join returns the whole payload in memory of its own and leaves w empty.
func (w *pieces) join(bufs *buffers) []byte {
	if len(w.parts) == 1 {
		return w.only()
	}
	return w.joinIn(make([]byte, 0, w.n), bufs)
}

// joinLent is join in a buffer that is lent. The whole may be all of one.
func (w *pieces) joinLent(bufs *buffers) []byte {
	if len(w.parts) == 1 {
		return w.only()
	}
	return w.joinIn(bufs.lend(w.n), bufs)
}

// joinFor is join for the packet with flag that completes the payload: in a buffer that is lent, unless whoever
// takes raw bytes is to keep them.
func (w *pieces) joinFor(flag Flag, bufs *buffers) []byte {
	if len(w.parts) > 1 && w.isBytes(flag) {
		return w.join(bufs)
	}
	return w.joinLent(bufs)
}

// isBytes reports whether the payload is raw bytes, or may be, for all that its first part says.
func (w *pieces) isBytes(flag Flag) bool {
	if flag&FlagMeta == 0 || flag&FlagZipPayload != 0 {
		return false
	}
	meta, _, err := splitMeta(flag, w.parts[0])
	for n := 0; err == nil && len(meta) > 0; n++ {
		var e MetaEntry
		if e, meta, err = nextMeta(meta, n); e.ID == MetaSerializer {
			return string(e.Value) == rawBytes
		}
	}
	return err != nil
}

// only returns the only part and leaves w empty.
func (w *pieces) only() []byte {
	whole := w.parts[0]
	*w = pieces{}
	return whole
}

// joinIn appends the parts to whole and leaves w empty.
func (w *pieces) joinIn(whole []byte, bufs *buffers) []byte {
	for _, part := range w.parts {
		whole = append(whole, part...)
		runtime.Gosched() // others wait for less
	}
	w.free(bufs)
	return whole
}

// free gives the memory back and leaves w empty.
func (w *pieces) free(bufs *buffers) {
	for _, part := range w.parts {
		bufs.put(part)
	}
	*w = pieces{}
}
