package compress

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// encoderWindow is how far back the encoder looks, in bytes. It decides what an encoder
// keeps in memory.
const encoderWindow = 256 << 10

// appendZstd appends src to dst as one frame.
func (c *Codec) appendZstd(dst, src []byte) (out []byte, ok bool) {
	w, ok := c.zstdWriters.Get().(*zstd.Encoder)
	if !ok {
		w = newZstdWriter(c.level)
	}
	defer c.zstdWriters.Put(w)
	if cap(dst)-len(dst) < len(src) && len(src) <= bufferSize {
		b := c.buffer()
		defer c.buffers.Put(b)
		frame := w.EncodeAll(src, b[:0])
		if len(frame) >= len(src) {
			return dst, false
		}
		return append(dst, frame...), true
	}
	out = w.EncodeAll(src, grow(dst, min(len(src), bufferSize)))
	if len(out)-len(dst) >= len(src) {
		return dst, false
	}
	return out, true
}

// newZstdWriter returns an encoder without goroutines. A frame gets no checksum: what
// carries packets has one, and flate has none either. Without AllLitEntropyCompression the
// encoder stores what has no matches, base64 of a picture say.
func newZstdWriter(l Level) *zstd.Encoder {
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(l.zstd()),
		zstd.WithWindowSize(encoderWindow),
		zstd.WithLowerEncoderMem(true),
		zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false))
	if err != nil {
		panic(fmt.Sprintf("compress: a zstd encoder refused its options: %v", err))
	}
	return w
}

// zstdReader is a decoder without goroutines.
type zstdReader struct {
	decoder *zstd.Decoder
	empty   [9]byte
}

// newZstdReader returns a decoder that writes only where there is room. Its options leave
// the memory limit alone unless the caller adds one, because that would be the limit for
// windows too, and a small body in a frame with a large window is usual. scan has looked at
// the window, which takes no memory here.
func newZstdReader(options ...zstd.DOption) *zstdReader {
	options = append(options,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(1<<40))
	d, err := zstd.NewReader(nil, options...)
	if err != nil {
		panic(fmt.Sprintf("compress: a zstd decoder refused its options: %v", err))
	}
	// A frame of one empty raw block, in a single segment of 0 bytes.
	return &zstdReader{decoder: d, empty: [9]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}}
}

// decode inflates src into room, which is empty, as far as its capacity reaches.
func (r *zstdReader) decode(room, src []byte) ([]byte, error) {
	out, err := r.decoder.DecodeAll(src, room)
	if cap(room)+len(src) > mayPin {
		r.forget()
	}
	return out, err
}

// mayPin is how many bytes of data that it has last read and written a decoder may keep from
// the garbage collector while it is idle.
const mayPin = 2 * bufferSize

// forget makes the decoder let go of the data it has last read and written.
func (r *zstdReader) forget() {
	_, _ = r.decoder.DecodeAll(r.empty[:], nil)
}

// inflateZstd appends what the frame src holds.
func (c *Codec) inflateZstd(dst, src []byte, limit int) ([]byte, error) {
	f, err := scan(src, limit)
	if err != nil {
		return dst, err
	}
	r, ok := c.zstdReaders.Get().(*zstdReader)
	if !ok {
		r = newZstdReader()
	}
	defer c.zstdReaders.Put(r)
	if f.sized {
		return r.inflateSized(dst, src, f)
	}
	b := c.buffer()
	defer c.buffers.Put(b)
	out, err := r.decode(b[:0], src)
	switch {
	case err == nil && len(out) > limit:
		return dst, tooLong(Zstd, limit)
	case err == nil:
		return append(dst, out...), nil
	case f.most <= bufferSize:
		return dst, badData("the zstd frame is damaged: %v", err)
	case f.most <= uint64(limit):
		return r.inflateInto(dst, src, int(f.most))
	}
	return inflateOpen(dst, src, f, limit)
}

// exactUpTo is the declared size up to which a frame gets exactly the room it declares. If
// a frame lies, the decoder takes new memory for one more block before it notices. A larger
// frame gets the room for that block from the beginning, so that nothing is moved.
const exactUpTo = 1 << 20

func (r *zstdReader) inflateSized(dst, src []byte, f frame) ([]byte, error) {
	room := f.size
	if room > exactUpTo {
		room = min(f.most, f.size+maxBlock)
	}
	return r.inflateInto(dst, src, int(room))
}

// inflateInto inflates src, which holds no more than room.
func (r *zstdReader) inflateInto(dst, src []byte, room int) ([]byte, error) {
	room += overrun
	to := grow(dst, room)
	out, err := r.decode(to[len(to):len(to):len(to)+room], src)
	if err != nil {
		return dst, badData("the zstd frame is damaged: %v", err)
	}
	return to[:len(to)+len(out)], nil
}

// inflateOpen inflates a frame that declares no size and has blocks enough for more than
// limit. Its decoder stops behind the block that exceeds a memory limit. That block needs
// room too: without it the decoder would first move everything to a larger buffer.
func inflateOpen(dst, src []byte, f frame, limit int) ([]byte, error) {
	code, most := windowFor(max(limit, maxBlock))
	if f.window > uint64(most) {
		// The memory limit is also one for windows. Nothing within the limit reaches
		// back further than the smaller window does.
		src = slices.Clone(src)
		src[windowAt] = code
	}
	room := most + maxBlock + overrun
	to := grow(dst, room)
	r := newZstdReader(zstd.WithDecoderMaxMemory(uint64(most)))
	out, err := r.decoder.DecodeAll(src, to[len(to):len(to):len(to)+room])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && len(out) > limit:
		return dst, tooLong(Zstd, limit)
	case err != nil:
		return dst, badData("the zstd frame is damaged: %v", err)
	}
	return to[:len(to)+len(out)], nil
}
