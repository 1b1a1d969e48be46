package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// bundled is set in the kind of a bus message that has several frames.
	bundled = 0x80
	// maxFrames is the most frames of a bundle, and maxBundle the most bytes that are put into one.
	maxFrames = 64
	// usualFrames is how many there is room for without allocating.
	usualFrames = 16
	maxBundle   = 64 << 10
	// lengthLen is the length of a frame's length in a bundle, and nextLen that of all that stands before the body of a frame
	// that isn't the first.
	lengthLen = 4
	nextLen   = 1 + 8 + 4 + lengthLen
)

// bundle is a bus message that is being made: frames of one sender that are ready together and go the same way. One that stands alone is
// sent as it would be without it.
type bundle struct {
	subject, reply string
	kind           kind // of all frames, where that matters to who makes it
	frames         int
	buf            []byte
	m              Message // being published
}

// room reports whether a body of n more bytes may be added to those of the bundle, on a bus with so many bytes to a message.
func (b *bundle) room(n, payload int) bool {
	return b.frames < maxFrames && len(b.buf)+nextLen+n <= min(maxBundle, payload)
}

// add adds a frame.
func (b *bundle) add(h *header, parts ...[]byte) {
	if b.frames == 0 {
		b.buf = append(b.buf[:0], headerMagic, headerVersion, 0, 0, 0, 0, byte(h.kind)|bundled)
		b.buf = binary.BigEndian.AppendUint64(b.buf, h.sender)
	} else {
		b.buf = append(b.buf, byte(h.kind))
	}
	b.frames++
	b.buf = binary.BigEndian.AppendUint64(b.buf, h.call)
	b.buf = binary.BigEndian.AppendUint32(b.buf, h.n)
	at := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0)
	for _, p := range parts {
		b.buf = append(b.buf, p...)
	}
	binary.BigEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at-lengthLen))
}

// publish publishes what was added, and begins anew. lost is told of each frame that was not sent, by its number; the last error is returned.
func (b *bundle) publish(s *Service, lost func(i int, err error)) error {
	data := b.buf
	if b.frames == 1 { // it needs no length
		data = data[lengthLen:]
		copy(data, b.buf[:headerLen])
		data[6] &^= bundled
	}
	binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli()))
	b.m = Message{Subject: b.subject, Reply: b.reply, Data: data}
	n := b.frames
	b.frames = 0
	err := s.publish(&b.m)
	switch {
	case err == nil:
		return nil
	case n > 1 && errors.Is(err, ErrTooLarge): // the bus has just begun to take less
		return b.apart(s, lost)
	}
	for i := range n {
		lost(i, err)
	}
	return err
}

// apart publishes each frame of what was published alone.
func (b *bundle) apart(s *Service, lost func(i int, err error)) error {
	frames, err := parseFrames(nil, b.buf)
	for i := range frames {
		b.m.Data = frames[i].append(nil, frames[i].body)
		if e := s.publish(&b.m); e != nil {
			lost(i, e)
			err = e
		}
	}
	return err
}

// frame is a header and its body.
type frame struct {
	header
	body []byte
}

// parseFrames appends the frames of a bus message to frames. They share b's memory.
func parseFrames(frames []frame, b []byte) ([]frame, error) {
	h, body, many, err := parseFirst(b)
	if err != nil {
		return nil, err
	}
	if !many {
		return append(frames, frame{h, body}), nil
	}
	for {
		n, rest, err := cutLength(body)
		if err != nil {
			return nil, err
		}
		if frames = append(frames, frame{h, rest[:n:n]}); len(rest) == n {
			return frames, nil
		}
		if body = rest[n:]; len(body) < nextLen {
			return nil, errors.New("a frame of the bundle is cut")
		}
		h.kind, h.call, h.n = kind(body[0]), binary.BigEndian.Uint64(body[1:]), binary.BigEndian.Uint32(body[9:])
		if err := h.check(); err != nil {
			return nil, err
		}
		if len(frames) == maxFrames {
			return nil, fmt.Errorf("the bundle has more than %d frames", maxFrames)
		}
		body = body[nextLen-lengthLen:]
	}
}

// cutLength takes a frame's length off.
func cutLength(b []byte) (n int, rest []byte, err error) {
	if len(b) < lengthLen {
		return 0, nil, errors.New("the length of a frame of the bundle is cut")
	}
	length := binary.BigEndian.Uint32(b)
	if b = b[lengthLen:]; uint64(length) > uint64(len(b)) {
		return 0, nil, fmt.Errorf("a frame of the bundle has %d bytes, %d are there", length, len(b))
	}
	return int(length), b, nil
}
