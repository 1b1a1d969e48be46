package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The kinds of frames, as RFC 6455 numbers them.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	finalBit    = 0x80 // the last frame of a message; in the first byte
	reservedBit = 0x70 // those of extensions, of which there are none
	maskBit     = 0x80 // in the second byte
	// maxHead is the length of the longest header.
	maxHead = 14
	// maxControl is the most bytes of payload in a control frame.
	maxControl = 125
)

// appendHead appends the header of a message of one frame, or of a control frame. A client's has a mask.
func appendHead(dst []byte, op byte, size int, masked bool, mask [4]byte) []byte {
	var bit byte
	if masked {
		bit = maskBit
	}
	dst = append(dst, finalBit|op)
	switch {
	case size <= 125:
		dst = append(dst, bit|byte(size))
	case size <= 0xFFFF:
		dst = binary.BigEndian.AppendUint16(append(dst, bit|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, bit|127), uint64(size))
	}
	if masked {
		dst = append(dst, mask[:]...)
	}
	return dst
}

// headLen returns how long the header is that b, which may be empty, begins with, as far as b tells.
func headLen(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	n := 2
	switch b[1] &^ maskBit {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// head is a frame's header.
type head struct {
	op     byte
	final  bool
	masked bool
	mask   [4]byte
	size   uint64
}

// parseHead parses a header, all of which is in b, and holds it to the rules of a single frame.
func parseHead(b []byte) (h head, err error) {
	h = head{op: b[0] & 0x0F, final: b[0]&finalBit != 0, masked: b[1]&maskBit != 0, size: uint64(b[1] &^ maskBit)}
	least := uint64(0)
	switch h.size {
	case 126:
		h.size, least = uint64(binary.BigEndian.Uint16(b[2:])), 126
	case 127:
		h.size, least = binary.BigEndian.Uint64(b[2:]), 1<<16
	}
	if h.masked {
		copy(h.mask[:], b[len(b)-4:])
	}
	control := h.op&opClose != 0
	switch {
	case b[0]&reservedBit != 0:
		return h, broken("a frame has the bits %#x of an extension, such as compression, and none was agreed on", b[0]&reservedBit)
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, broken("a frame is of kind %#x, which there isn't", h.op)
	case h.size < least || h.size>>63 != 0:
		return h, broken("a frame's length, %d, isn't written in the shortest way", h.size)
	case control && (!h.final || h.size > maxControl):
		return h, broken("a control frame of %d bytes; it has to be whole, with at most %d", h.size, maxControl)
	}
	return h, nil
}

// xor masks or unmasks b, which begins at offset pos of a frame's payload.
func xor(b []byte, mask [4]byte, pos int) {
	var turned [8]byte
	for i := range turned {
		turned[i] = mask[(pos+i)&3]
	}
	word := binary.LittleEndian.Uint64(turned[:])
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= turned[i]
	}
}

// parseClose returns what a close frame says. The code is CloseNoStatus if it says nothing.
func parseClose(payload []byte) (*CloseError, error) {
	if len(payload) == 0 {
		return &CloseError{Code: CloseNoStatus}, nil
	}
	if len(payload) == 1 {
		return nil, broken("a close frame with half a code")
	}
	e := &CloseError{Code: int(binary.BigEndian.Uint16(payload)), Reason: string(payload[2:])}
	switch {
	case !mayBeSent(e.Code):
		return nil, broken("a close frame with the code %d, which is never sent", e.Code)
	case !utf8.ValidString(e.Reason):
		return nil, &CloseError{Code: CloseBadText, Reason: "the reason in a close frame is no UTF-8", local: true}
	}
	return e, nil
}

// mayBeSent reports whether a close frame may have a code.
func mayBeSent(code int) bool {
	switch {
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != CloseNoStatus && code != 1006
	}
	return code >= 3000 && code <= 4999
}

// appendClose appends the payload of a close frame.
func appendClose(dst []byte, code int, reason string) []byte {
	if code == CloseNoStatus {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	if most := maxControl - 2; len(reason) > most {
		for most > 0 && !utf8.RuneStart(reason[most]) {
			most--
		}
		reason = reason[:most]
	}
	return append(dst, reason...)
}

// broken is how a connection ends whose other end breaks the rules.
func broken(format string, args ...any) error {
	return &CloseError{Code: CloseProtocol, Reason: fmt.Sprintf(format, args...), local: true}
}
