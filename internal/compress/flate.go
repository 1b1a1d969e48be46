package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

var errNoGain = errors.New("compress: not smaller")

// sink appends to out what a compressor writes, until room is used up.
type sink struct {
	out  []byte
	room int
}

func (s *sink) Write(p []byte) (int, error) {
	if len(p) > s.room {
		return 0, errNoGain
	}
	s.room -= len(p)
	s.out = append(s.out, p...)
	return len(p), nil
}

// flateWriter compresses bodies.
type flateWriter struct {
	sink
	fast    *flate.Writer
	huffman *flate.Writer // codes for single bytes only; nil until it is needed
}

// appendFlate appends src to dst as a raw flate stream. The fast compressor stores what has
// no matches, base64 of a picture say, so codes for single bytes are tried where the bytes
// aren't evenly distributed.
func (c *Codec) appendFlate(dst, src []byte) (out []byte, ok bool) {
	if len(src) == 0 {
		return dst, false
	}
	w, ok := c.flateWriters.Get().(*flateWriter)
	if !ok {
		w = &flateWriter{fast: newFlateWriter(c.level.flate())}
	}
	defer c.flateWriters.Put(w)
	if out, ok = w.append(dst, src, w.fast); ok || len(src) < sampleSize || flat(src) {
		return out, ok
	}
	if w.huffman == nil {
		w.huffman = newFlateWriter(flate.HuffmanOnly)
	}
	return w.append(dst, src, w.huffman)
}

// append appends what by makes of src to dst, if that is smaller.
func (w *flateWriter) append(dst, src []byte, by *flate.Writer) (out []byte, ok bool) {
	w.out, w.room = dst, len(src)-1
	by.Reset(&w.sink)
	_, err := by.Write(src)
	if err == nil {
		err = by.Close()
	}
	out, w.out = w.out, nil
	if err != nil {
		return dst, false
	}
	return out, true
}

func newFlateWriter(level int) *flate.Writer {
	w, err := flate.NewWriter(io.Discard, level)
	if err != nil {
		panic(fmt.Sprintf("compress: a flate writer refused its level: %v", err))
	}
	return w
}

// appendFlateCode is appendFlate for a code. A flate.Writer of the fast levels looks for no
// matches in less than 128 bytes, and one of the others takes a megabyte.
func appendFlateCode(dst, code []byte) (out []byte, ok bool) {
	s := sink{out: dst, room: len(code) - 1}
	if err := flate.StatelessDeflate(&s, code, true, nil); err != nil {
		return dst, false
	}
	return s.out, true
}

// flateReader inflates what is in input.
type flateReader struct {
	input   bytes.Reader
	inflate io.Reader // also a flate.Resetter
}

func newFlateReader() *flateReader {
	r := new(flateReader)
	r.inflate = flate.NewReader(&r.input)
	return r
}

// start begins anew, with src. Reset reports no errors.
func (r *flateReader) start(src []byte) {
	r.input.Reset(src)
	_ = r.inflate.(flate.Resetter).Reset(&r.input, nil)
}

// fill reads until p is full or the stream ends, and says which. What follows the stream is
// an error.
func (r *flateReader) fill(p []byte) (n int, end bool, err error) {
	for n < len(p) {
		k, err := r.inflate.Read(p[n:])
		n += k
		if err == io.EOF {
			if rest := r.input.Len(); rest > 0 {
				return n, true, badData("%d bytes follow the flate stream, expected exactly one stream", rest)
			}
			return n, true, nil
		}
		if err != nil {
			return n, false, badData("the flate stream is damaged: %v", err)
		}
	}
	return n, false, nil
}

// inflateFlate appends what the stream src holds.
func (c *Codec) inflateFlate(dst, src []byte, limit int) ([]byte, error) {
	r, ok := c.flateReaders.Get().(*flateReader)
	if !ok {
		r = newFlateReader()
	}
	b := c.buffer()
	out, err := r.run(dst, src, b[:bufferSize], limit)
	r.input.Reset(nil)
	c.buffers.Put(b)
	c.flateReaders.Put(r)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// run inflates into b first, which is where most streams end.
func (r *flateReader) run(dst, src, b []byte, limit int) ([]byte, error) {
	r.start(src)
	n, end, err := r.fill(b)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, tooLong(Flate, limit)
	case end:
		return append(dst, b[:n]...), nil
	}
	expected := n + r.rest(n, len(src))
	out := append(grow(dst, min(expected, limit)+1), b...)
	room := out[len(out) : len(dst)+min(expected, limit)+1]
	k, end, err := r.fill(room)
	switch {
	case err != nil:
		return nil, err
	case n+k > limit:
		return nil, tooLong(Flate, limit)
	case end:
		return out[:len(out)+k], nil
	}
	return r.again(dst, src, b, n+k, limit)
}

// rest estimates how much is still to come after the first n bytes, if the rest of the
// stream is like its beginning, with an eighth for the case that it isn't.
func (r *flateReader) rest(n, length int) int {
	left := r.input.Len()
	rest := float64(n) / float64(length-left) * float64(left)
	return int(min(rest*9/8, 1<<30)) + len(buffer{})
}

// again is for streams that hold more than their beginning let expect: it counts the rest,
// then begins anew with the room that it takes. n bytes have been read. Moving the data to
// a larger buffer instead would take the memory of both.
func (r *flateReader) again(dst, src, b []byte, n, limit int) ([]byte, error) {
	for end := false; !end; {
		var k int
		var err error
		k, end, err = r.fill(b)
		if err != nil {
			return nil, err
		}
		n += k
		if n > limit {
			return nil, tooLong(Flate, limit)
		}
	}
	out := grow(dst, n+1)
	r.start(src)
	k, _, err := r.fill(out[len(dst) : len(dst)+n+1])
	return out[:len(dst)+k], err
}
