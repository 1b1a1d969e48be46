package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// kind says what a bus message is for.
type kind uint8

const (
	kindOpen   kind = iota + 1 // caller to subject: serializer, then the packet that opens a call, or a one-way message
	kindOffer                  // caller to subject: length of such a packet, serializer; the packet is to be pulled
	kindPull                   // callee to caller: offset and length of what is to be sent of an offer
	kindChunk                  // caller to callee: offset, bytes of the offer
	kindTaken                  // callee to caller: all of an offer has come
	kindAccept                 // callee to caller: this instance has taken the call, and further frames go to the reply subject
	kindMore                   // either: a packet of a call that is open
	kindDrop                   // either: the sender has given the call up; a text says why
	kindProbe                  // either: is the call still open there?
	kindAlive                  // either: it is
	kindInvite                 // caller to subject: serializer, then a path: who takes a cast?
	kindReady                  // callee to caller: this instance does, at the reply subject
	kindCast                   // caller to callee: the invitation's number, serializer, then the packet that opens the call
	maxKind
)

const (
	headerMagic   = 0xf1
	headerVersion = 1
	headerLen     = 27
	// maxName is the longest name of a serializer, and maxFrom the longest field that has it and the sender's.
	maxName, maxFrom = 63, 255
)

// header stands before everything that services send over a bus:
//
//	1 byte 0xf1, 1 byte version (1), 4 bytes CRC-32C of all that follows,
//	1 byte kind, 8 bytes sender, 8 bytes call, 4 bytes number
//
// Numbers are big-endian. If the kind has its highest bit set, the message is a bundle: 4 bytes length of the body follow, the body, and further
// frames of the same sender, each of 1 byte kind, 8 bytes call, 4 bytes number, 4 bytes length, and a body.
type header struct {
	kind   kind
	sender uint64 // the link or lane that sends
	call   uint64 // among those of the link that opened it
	n      uint32 // counts the sender's kindAccept and kindMore of the call; in kindProbe and kindAlive how many there were, unless it is 0
}

// castagnoli returns the table of CRC-32C, of which the library keeps one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// append appends the header and the parts of its body.
func (h *header) append(dst []byte, parts ...[]byte) []byte {
	at := len(dst)
	dst = append(dst, headerMagic, headerVersion, 0, 0, 0, 0, byte(h.kind))
	dst = binary.BigEndian.AppendUint64(dst, h.sender)
	dst = binary.BigEndian.AppendUint64(dst, h.call)
	dst = binary.BigEndian.AppendUint32(dst, h.n)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	binary.BigEndian.PutUint32(dst[at+2:], crc32.Checksum(dst[at+6:], castagnoli()))
	return dst
}

// parseHeader returns the header of a bus message that is no bundle, and its body, which shares b's memory.
func parseHeader(b []byte) (h header, body []byte, err error) {
	h, body, many, err := parseFirst(b)
	if many && err == nil {
		err = errors.New("it is a bundle, where none can be")
	}
	return h, body, err
}

// parseFirst returns the first header of a bus message and what follows it. many says that it is a bundle.
func parseFirst(b []byte) (h header, rest []byte, many bool, err error) {
	switch {
	case len(b) < headerLen:
		return h, nil, false, fmt.Errorf("it has %d bytes, the header alone %d", len(b), headerLen)
	case b[0] != headerMagic:
		return h, nil, false, errors.New("it doesn't begin as FlyRPC's do: another program's subject may be the same")
	case b[1] != headerVersion:
		return h, nil, false, fmt.Errorf("it has version %d of the header, %d is known here", b[1], headerVersion)
	case binary.BigEndian.Uint32(b[2:]) != crc32.Checksum(b[6:], castagnoli()):
		return h, nil, false, errors.New("its check sum is wrong: it was cut or changed on the way")
	}
	h = header{
		kind: kind(b[6] &^ bundled), sender: binary.BigEndian.Uint64(b[7:]),
		call: binary.BigEndian.Uint64(b[15:]), n: binary.BigEndian.Uint32(b[23:]),
	}
	return h, b[headerLen:], b[6]&bundled != 0, h.check()
}

// check says what is wrong with a header.
func (h *header) check() error {
	if h.kind == 0 || h.kind >= maxKind {
		return fmt.Errorf("its kind is %d, which isn't known", h.kind)
	}
	if h.sender == 0 {
		return errors.New("its sender is 0, which nobody is")
	}
	return nil
}

// from is what stands before the packet of a call that is opened: the serializer it is encoded by, and who calls.
type from struct {
	serializer []byte
	source     []byte // a service's name, a zero byte, the instance's ID; or nothing
}

// append appends it: a byte and as many bytes of the serializer's name and, behind a zero byte, the source.
func (f from) append(dst []byte) []byte {
	n := len(f.serializer)
	if len(f.source) > 0 && n+1+len(f.source) <= maxFrom {
		n += 1 + len(f.source)
	}
	dst = append(append(dst, byte(n)), f.serializer...)
	if n > len(f.serializer) {
		dst = append(append(dst, 0), f.source...)
	}
	return dst
}

// cutFrom takes it off.
func cutFrom(b []byte) (f from, rest []byte, err error) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return f, nil, errors.New("the name of its serializer is cut")
	}
	f.serializer, f.source, _ = bytes.Cut(b[1:1+b[0]], []byte{0})
	if bytes.Count(f.source, []byte{0}) > 1 {
		return f, nil, errors.New("it says more of who sends it than a service and an instance")
	}
	return f, b[1+b[0]:], nil
}

// appendRange appends an offset and a length.
func appendRange(dst []byte, offset, length int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, uint64(offset)), uint32(length))
}

// cutRange takes them off, as far as they are within n bytes.
func cutRange(b []byte, n int) (offset, length int, err error) {
	if len(b) != 12 {
		return 0, 0, errors.New("the range is cut")
	}
	o, l := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if o > uint64(n) || uint64(l) > uint64(n)-o {
		return 0, 0, fmt.Errorf("the range from %d with %d bytes isn't within %d", o, l, n)
	}
	return int(o), int(l), nil
}
