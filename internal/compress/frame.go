package compress

import (
	"github.com/klauspost/compress/zstd"
)

const (
	zstdMagic = "\x28\xb5\x2f\xfd"

	// maxBlock is the most that one block of a zstd frame holds, in bytes.
	maxBlock = 128 << 10

	// minWindow is the smallest window that zstd knows, in bytes.
	minWindow = 1 << 10

	// maxWindow is the largest window that a frame may declare. It is what zstd's own
	// decoder takes if nobody asks it for more. No memory is taken for windows here.
	maxWindow = 128 << 20
)

// isZstd tells a zstd frame from raw flate. No flate stream begins with the magic: byte 28
// announces a stored block, B5 2F would be its length, and then the complement of that
// would have to follow, 4A D0.
func isZstd(src []byte) bool {
	return len(src) >= len(zstdMagic) && string(src[:len(zstdMagic)]) == zstdMagic
}

// frame is what the headers of a zstd frame and of its blocks say.
type frame struct {
	sized  bool
	size   uint64 // what the frame is to hold, if it is sized
	window uint64 // how far back a match may reach
	least  uint64 // what the blocks hold together at least: the ones that say how much
	most   uint64 // and at most
}

// scan reads the headers of src, which begins with the magic, and refuses whatever is not
// exactly one frame, and a frame that declares more than limit.
func scan(src []byte, limit int) (frame, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return frame{}, badData("the zstd header is damaged: %v", err)
	}
	if h.DictionaryID != 0 {
		return frame{}, badData("the zstd frame needs dictionary %d, expected a frame without one", h.DictionaryID)
	}
	f := frame{sized: h.HasFCS, size: h.FrameContentSize, window: h.WindowSize}
	if f.sized && f.size > uint64(limit) {
		return frame{}, tooLong(Zstd, limit)
	}
	if h.SingleSegment {
		f.window = max(f.size, minWindow)
	}
	if f.window > maxWindow && !h.SingleSegment {
		return frame{}, badData("the zstd frame declares a window of %d bytes, expected at most %d", f.window, maxWindow)
	}
	end, err := f.blocks(src, h.HeaderSize)
	if err != nil {
		return frame{}, err
	}
	if h.HasCheckSum {
		end += 4
	}
	if end > len(src) {
		return frame{}, badData("the zstd frame ends before its checksum")
	}
	if end < len(src) {
		return frame{}, badData("%d bytes follow the zstd frame, expected exactly one frame", len(src)-end)
	}
	return f, f.check(limit)
}

// blocks goes from block to block, from pos on, and returns where the last one ends.
func (f *frame) blocks(src []byte, pos int) (end int, err error) {
	const raw, rle, compressed = 0, 1, 2
	largest := min(f.window, maxBlock)
	for last := false; !last; {
		if len(src)-pos < 3 {
			return 0, badData("the zstd frame ends before its last block")
		}
		header := uint32(src[pos]) | uint32(src[pos+1])<<8 | uint32(src[pos+2])<<16
		pos += 3
		last = header&1 != 0
		size := int(header >> 3)
		if uint64(size) > largest {
			return 0, badData("a zstd block of %d bytes came, expected at most %d", size, largest)
		}
		switch header >> 1 & 3 {
		case raw:
			f.least += uint64(size)
			f.most += uint64(size)
		case rle:
			f.least += uint64(size)
			f.most += uint64(size)
			size = 1
		case compressed:
			f.most += largest
		default:
			return 0, badData("a zstd block of the reserved type came")
		}
		if size > len(src)-pos {
			return 0, badData("the zstd frame ends in the middle of a block")
		}
		pos += size
	}
	return pos, nil
}

// check compares what the blocks can hold with the limit and with the declared size.
func (f *frame) check(limit int) error {
	if f.sized && (f.least > f.size || f.most < f.size) {
		return badData("the zstd frame declares %d bytes, but its blocks hold %d to %d", f.size, f.least, f.most)
	}
	if f.least > uint64(limit) {
		return tooLong(Zstd, limit)
	}
	return nil
}
