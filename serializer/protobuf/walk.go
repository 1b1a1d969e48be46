package protobuf

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// frame is a message, a map's entry or a group around the current field.
type frame struct {
	end    int              // where it ends, or the message around a group
	group  protowire.Number // of the group, 0 if it isn't one
	shape  *shape           // nil in a field that the type doesn't know
	table  *field           // the map whose entry came last
	packed uint64           // what the packed elements so far cost
	seen   uint64           // a bit for each field whose packed elements have come
}

// walk looks through data once, without recursion, and finds out whether the
// library may decode it.
type walk struct {
	codec  *codec
	budget uint64 // how many bytes decoding may take

	data  []byte
	pos   int
	cost  uint64
	stack []frame
}

// maxKept is the largest stack that is kept for another call.
const maxKept = 1024

// walk says whether data may be decoded into m.
func (c *codec) walk(data []byte, m protoreflect.Message) error {
	s := c.shapeOf(m)
	if s.flat && c.harmless(len(data)) {
		return nil
	}
	w := c.walks.Get().(*walk)
	*w = walk{codec: c, budget: c.limits.Budget(len(data)), data: data, stack: w.stack[:0]}
	err := w.run(s)
	w.data = nil
	if cap(w.stack) <= maxKept {
		c.walks.Put(w)
	}
	return err
}

// harmless reports whether a flat message of n bytes can't exceed a limit. The least that an unknown group takes is two bytes, and so
// is the least occurrence of a field, which takes presence in memory beside its own bytes.
func (c *codec) harmless(n int) bool {
	return n/2 < c.limits.Depth && uint64(n/2*presence+n) <= c.limits.Budget(n)
}

func (w *walk) run(s *shape) error {
	w.stack = append(w.stack, frame{end: len(w.data), shape: s})
	for len(w.stack) > 0 {
		f := &w.stack[len(w.stack)-1]
		if w.pos == f.end {
			if f.group != 0 {
				return malformed("a group that does not end")
			}
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		if err := w.field(f); err != nil {
			return err
		}
		if w.cost > w.budget {
			return &serializer.LimitError{Serializer: name, Limit: serializer.LimitMemory, Max: w.budget}
		}
	}
	return nil
}

// field passes one field, or enters the message in it.
func (w *walk) field(f *frame) error {
	number, kind, n := protowire.ConsumeTag(w.data[w.pos:f.end])
	if n < 0 {
		return malformed("a bad field tag")
	}
	w.pos += n
	var known *field
	if f.shape != nil {
		known = f.shape.fields[number]
	}
	switch kind {
	case protowire.BytesType:
		return w.bytes(f, known)
	case protowire.StartGroupType:
		return w.enter(frame{end: f.end, group: number}, known)
	case protowire.EndGroupType:
		if number != f.group {
			return malformed("the end of a group that did not begin")
		}
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	}
	n = protowire.ConsumeFieldValue(number, kind, w.data[w.pos:f.end])
	if n < 0 {
		return malformed("a bad value")
	}
	w.pos += n
	w.charge(f, known, 0)
	return nil
}

// charge adds the cost of one occurrence of a field with n bytes of text or bytes.
func (w *walk) charge(f *frame, known *field, n int) {
	switch {
	case known != nil:
		w.cost += known.cost + uint64(n)
	case f.shape != nil && f.shape.extensible:
		w.cost += extension + perExtByte*uint64(n)
	}
}

// bytes passes a field with a length, or enters the message in it.
func (w *walk) bytes(f *frame, known *field) error {
	b, n := protowire.ConsumeBytes(w.data[w.pos:f.end])
	if n < 0 {
		return malformed("a length beyond the end of the message")
	}
	start := w.pos + n - len(b)
	w.pos += n
	switch {
	case known != nil && known.inside != nil:
		if known.table > 0 && f.table != known {
			f.table = known
			w.cost += known.table
		}
		w.pos = start
		return w.enter(frame{end: start + len(b)}, known)
	case known != nil && known.elem > 0:
		w.packed(f, known, b)
	default:
		w.charge(f, known, len(b))
	}
	return nil
}

// packed charges the elements in b. The library makes room for them in one
// piece, and copies all that came before when more follow.
func (w *walk) packed(f *frame, known *field, b []byte) {
	count := uint64(0)
	if known.width > 0 {
		count = uint64(len(b)) / known.width
	} else {
		for _, c := range b {
			count += uint64(c>>7 ^ 1)
		}
	}
	cost := count * known.elem
	w.cost += cost
	if f.seen&known.bit != 0 {
		w.cost += f.packed
	}
	f.seen |= known.bit
	f.packed += cost
}

// enter begins a message, a map's entry or a group.
func (w *walk) enter(f frame, known *field) error {
	if len(w.stack) >= w.codec.limits.Depth {
		return &serializer.LimitError{Serializer: name, Limit: serializer.LimitDepth, Max: uint64(w.codec.limits.Depth)}
	}
	if known != nil {
		w.cost += known.cost
		f.shape = known.inside
	}
	w.stack = append(w.stack, f)
	return nil
}

func malformed(found string) error {
	return fmt.Errorf("protobuf: the data has %s; it is of another format or damaged", found)
}
