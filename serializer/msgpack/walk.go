package msgpack

import (
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

// op is what a first byte says about the bytes behind it.
type op uint8

const (
	opFixed   op = iota // size bytes altogether
	opBlob              // size bytes of length, then that many bytes
	opText              // the same, text
	opExt               // the same, with a byte for the type between
	opFixExt            // size bytes altogether, an extension
	opArray             // size bytes of length, then the elements
	opMap               // the same, key and value for each entry
	opArrayIn           // size elements
	opMapIn             // size entries
	opReserved
)

// code is what the walk knows about one first byte. cost is what the value takes
// when decoded, beyond the element it is stored in and beyond what its length says.
type code struct {
	op   op
	size uint8
	cost uint8
}

// What the Go values of MessagePack's types take in memory: typed is what stands
// behind a string or slice, boxed adds what an interface points to.
const (
	roundUp     = 8
	boxedNumber = 8
	boxedText   = 16
	boxedSlice  = 24
	boxedExt    = 64
)

var typedCodes, dynamicCodes = makeCodes(false), makeCodes(true)

func makeCodes(dynamic bool) *[256]code {
	box := func(n int) uint8 {
		if dynamic {
			return uint8(n)
		}
		return 0
	}
	var t [256]code
	fill := func(from, to int, c code) {
		for i := from; i <= to; i++ {
			t[i] = c
		}
	}
	fill(0x00, 0x7f, code{op: opFixed, size: 1})
	fill(0xe0, 0xff, code{op: opFixed, size: 1})
	fill(0xc0, 0xc3, code{op: opFixed, size: 1})
	t[0xc1] = code{op: opReserved}
	for n := range 16 {
		t[0x80+n] = code{op: opMapIn, size: uint8(n)}
		t[0x90+n] = code{op: opArrayIn, size: uint8(n), cost: box(boxedSlice)}
	}
	for n := range 32 {
		t[0xa0+n] = code{op: opFixed, size: uint8(1 + n), cost: box(boxedText) + roundUp + uint8(n)}
	}
	for i, width := range []uint8{1, 2, 4} {
		t[0xc4+i] = code{op: opBlob, size: width, cost: box(boxedSlice) + roundUp}
		t[0xc7+i] = code{op: opExt, size: width, cost: box(boxedExt)}
		t[0xd9+i] = code{op: opText, size: width, cost: box(boxedText) + roundUp}
	}
	for i, width := range []uint8{2, 4} {
		t[0xdc+i] = code{op: opArray, size: width, cost: box(boxedSlice)}
		t[0xde+i] = code{op: opMap, size: width}
	}
	for i, n := range []uint8{4, 8, 1, 2, 4, 8, 1, 2, 4, 8} {
		t[0xca+i] = code{op: opFixed, size: 1 + n, cost: box(boxedNumber)}
	}
	for i, n := range []uint8{1, 2, 4, 8, 16} {
		t[0xd4+i] = code{op: opFixExt, size: 2 + n, cost: box(boxedExt)}
	}
	return &t
}

var (
	errTruncated = errors.New("msgpack: the data ends in the middle of a value")
	errReserved  = errors.New("msgpack: byte 0xc1 stands for nothing in MessagePack; the data is of another format or damaged")
)

// bigText is the length from which the library's copy of a text on its way counts.
const bigText = 64 << 10

// selfCopies is how often a type that decodes itself may copy the longest text or
// bytes: to parse it, and to quote it in an error.
const selfCopies = 6

// walk looks through data once, without recursion and without memory, and finds
// out whether the library may decode it.
type walk struct {
	plan    *plan.Plan
	depth   int     // how deep arrays and maps may be nested
	budget  uint64  // how many bytes decoding may take
	credit  uint64  // taken off each element of the outermost array
	stack   []int64 // items left in the arrays and maps around the current one, at least depth long
	cost    uint64
	level   int // arrays and maps around the current item
	left    int64
	pending int64 // items declared anywhere and not yet seen
	longest int   // the longest text or bytes
	text    int   // the longest text
	ext     bool  // there is an extension
}

// run refuses data that is not exactly one well-formed value within the limits.
func (w *walk) run(data []byte) error {
	codes := typedCodes
	if w.plan.Dynamic {
		codes = dynamicCodes
	}
	w.left, w.pending = 1, 1
	for pos := 0; ; {
		if pos >= len(data) {
			return errTruncated
		}
		c := codes[data[pos]]
		w.left--
		w.pending--
		w.cost += uint64(c.cost)
		if c.op == opFixed {
			pos += int(c.size)
		} else {
			next, err := w.header(data, pos, c)
			if err != nil {
				return err
			}
			pos = next
		}
		for w.left == 0 {
			if w.level == 0 {
				return w.end(data, pos)
			}
			w.level--
			w.left = w.stack[w.level]
		}
	}
}

// end is reached behind the value.
func (w *walk) end(data []byte, pos int) error {
	if pos > len(data) {
		return errTruncated
	}
	if pos < len(data) {
		return fmt.Errorf("msgpack: %d bytes follow the value; expected exactly one value", len(data)-pos)
	}
	if w.text > bigText {
		w.cost += uint64(w.text) + uint64(w.text)/4
	}
	if w.plan.Self {
		w.cost += selfCopies * uint64(w.longest)
	}
	return w.check()
}

func (w *walk) check() error {
	if w.cost > w.budget {
		return &serializer.LimitError{Serializer: name, Limit: serializer.LimitMemory, Max: w.budget}
	}
	return nil
}

// header handles every value that is not of a fixed size and returns where the
// next one starts: behind it, or at the first element.
func (w *walk) header(data []byte, pos int, c code) (int, error) {
	switch c.op {
	case opFixExt:
		w.ext = true
		return pos + int(c.size), nil
	case opArrayIn:
		return pos + 1, w.open(data, pos+1, uint64(c.size), false)
	case opMapIn:
		return pos + 1, w.open(data, pos+1, uint64(c.size), true)
	case opReserved:
		return 0, errReserved
	}
	n, next, ok := length(data, pos+1, int(c.size))
	if !ok {
		return 0, errTruncated
	}
	switch c.op {
	case opArray:
		return next, w.open(data, next, n, false)
	case opMap:
		return next, w.open(data, next, n, true)
	case opExt:
		w.ext = true
		next++
	}
	return w.blob(data, next, n, c.op)
}

// blob passes n bytes of payload.
func (w *walk) blob(data []byte, next int, n uint64, o op) (int, error) {
	if next > len(data) || n > uint64(len(data)-next) {
		return 0, errTruncated
	}
	w.cost += n
	w.longest = max(w.longest, int(n))
	if o == opText {
		w.text = max(w.text, int(n))
	}
	return next + int(n), nil
}

// length reads a length field; ok is false when the data ends inside it.
func length(data []byte, pos, width int) (n uint64, next int, ok bool) {
	if len(data)-pos < width {
		return 0, 0, false
	}
	for _, b := range data[pos : pos+width] {
		n = n<<8 | uint64(b)
	}
	return n, pos + width, true
}

// open enters an array or map of n elements or entries, whose first starts at next.
func (w *walk) open(data []byte, next int, n uint64, isMap bool) error {
	if w.level >= w.depth {
		return &serializer.LimitError{Serializer: name, Limit: serializer.LimitDepth, Max: uint64(w.depth)}
	}
	items := int64(n)
	if isMap {
		items *= 2
	}
	w.pending += items
	if w.pending > int64(len(data)-next) {
		return fmt.Errorf("msgpack: %d more values are declared in %d bytes", w.pending, len(data)-next)
	}
	level := w.plan.Level(w.level)
	if isMap {
		w.cost += level.Map(n)
	} else {
		w.cost += level.Array(n)
		if w.level == 0 {
			w.cost -= min(w.cost, n*w.credit)
		}
	}
	if err := w.check(); err != nil {
		return err
	}
	if items > 0 {
		w.stack[w.level] = w.left
		w.level++
		w.left = items
	}
	return nil
}
