package flyrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Flag is the first byte of a packet.
type Flag uint8

// The bits of a Flag. FlagResponse, FlagWait and the length bits are version 1's;
// the others are never sent to a version 1 peer.
const (
	FlagResponse   Flag = 0x80 // answers the receiver's call Sequence
	FlagWait       Flag = 0x40 // the sender waits for a response
	FlagStream     Flag = 0x20 // a frame of a call that is open
	FlagMeta       Flag = 0x10 // a metadata block stands before the body
	FlagZipCode    Flag = 0x08 // the code is compressed
	FlagZipPayload Flag = 0x04 // the body is compressed

	// flagLength are the two bits that give the width of the length field. They
	// belong to the wire form alone: a Packet's Flag doesn't have them.
	flagLength Flag = 0x03
)

// maxMetaLen is the most bytes of metadata one packet carries.
const maxMetaLen = 8 << 10

// minPacketLen is the length of the smallest packet: flag, sequence, an empty code
// and a length of zero.
const minPacketLen = 5

// The outcomes of parsing that are not a packet.
var (
	// ErrShortPacket means that the data ends before the packet does: read more.
	ErrShortPacket = errors.New("flyrpc: packet is not complete")
	// ErrLongCode means that no zero byte ends the code within 4 KiB. Where the next packet
	// begins can't be known, so the connection can't go on.
	ErrLongCode = errors.New("flyrpc: code is longer than 4 KiB")
	// ErrLongPayload means that the length field exceeds the limit. The header is
	// whole, so a reader can answer the sequence and skip the payload.
	ErrLongPayload = errors.New("flyrpc: payload is longer than the limit")
	// ErrBadMeta means that the metadata block doesn't fit its payload, is longer
	// than 8 KiB, has more than 64 entries or is malformed.
	ErrBadMeta = errors.New("flyrpc: malformed metadata")
)

// Packet is what the wire carries. The zero Packet is a one-way message to the
// empty path.
type Packet struct {
	// Flag holds the bits above. The width of the length field is not part of it.
	Flag Flag
	// Sequence names the call among the open calls of the side that opened it.
	Sequence uint16
	// Code is the path of a request or message and the status of a response, empty
	// for success. It has no zero byte and at most 4 KiB.
	Code string
	// Meta is the metadata block without its length, encoded as AppendMeta does. It is sent, and FlagMeta
	// set, if it isn't empty.
	Meta []byte
	// Payload is the body, without the metadata.
	Payload []byte
}

// AppendPacket appends the wire form of p to dst and returns the extended slice.
// FlagMeta follows from p.Meta. It fails, returning dst as it was, if the code has a
// zero byte or more than 4 KiB, or the metadata more than 8 KiB.
func AppendPacket(dst []byte, p *Packet) ([]byte, error) {
	if err := checkCode(p.Code); err != nil {
		return dst, err
	}
	if len(p.Meta) > maxMetaLen {
		return dst, fmt.Errorf("%w: %d bytes, at most %d", ErrBadMeta, len(p.Meta), maxMetaLen)
	}
	flag := p.Flag &^ (flagLength | FlagMeta)
	dst = appendHeader(dst, flag, p.Sequence, p.Code, p.Meta, len(p.Payload))
	return append(dst, p.Payload...), nil
}

// checkCode says what is wrong with a code that is to be sent.
func checkCode(code string) error {
	if len(code) > maxCodeLen {
		return fmt.Errorf("%w: it has %d bytes", ErrLongCode, len(code))
	}
	if strings.IndexByte(code, 0) >= 0 {
		return fmt.Errorf("flyrpc: code %q has a zero byte, which ends a code on the wire", code)
	}
	return nil
}

// appendHeader appends all of a packet but its body of n bytes. The code and the
// metadata have been checked.
func appendHeader(dst []byte, flag Flag, seq uint16, code string, meta []byte, n int) []byte {
	total := uint64(n)
	if len(meta) > 0 {
		flag |= FlagMeta
		total += uint64(uvarintLen(uint64(len(meta))) + len(meta))
	}
	width := lengthWidth(total)
	dst = append(dst, byte(flag|width), byte(seq>>8), byte(seq))
	dst = append(dst, code...)
	dst = append(dst, 0)
	switch width {
	case 0:
		dst = append(dst, byte(total))
	case 1:
		dst = binary.BigEndian.AppendUint16(dst, uint16(total))
	case 2:
		dst = binary.BigEndian.AppendUint32(dst, uint32(total))
	default:
		dst = binary.BigEndian.AppendUint64(dst, total)
	}
	if len(meta) > 0 {
		dst = appendMetaBlock(dst, meta)
	}
	return dst
}

// appendMetaBlock appends what stands before a body with metadata: its length and itself.
func appendMetaBlock(dst, meta []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(meta))), meta...)
}

// lengthWidth returns the length bits for a payload of n bytes.
func lengthWidth(n uint64) Flag {
	switch {
	case n <= math.MaxUint8:
		return 0
	case n <= math.MaxUint16:
		return 1
	case n <= math.MaxUint32:
		return 2
	default:
		return 3
	}
}

// packetLen returns the bytes of f's packet, with its code as it is.
func (f *frame) packetLen() int {
	n := f.size()
	return 3 + len(f.code) + 1 + 1<<lengthWidth(uint64(n)) + n
}

// uvarintLen returns the bytes that binary.AppendUvarint takes for v.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// ParsePacket parses the packet at the start of data, whose payload, metadata
// included, may have at most limit bytes. It returns the packet, whose Meta and Payload
// share data's memory, and the bytes it takes.
//
// The error is ErrShortPacket if data holds only the beginning of a packet,
// ErrLongCode or ErrLongPayload over a limit, and ErrBadMeta for metadata that is
// malformed. With ErrLongPayload the packet has its flag, sequence and code,
// and n is the length of the header; with ErrBadMeta they are there too, and n is the
// whole packet's length. Nothing is allocated but the code.
func ParsePacket(data []byte, limit uint64) (p Packet, n int, err error) {
	h, n, err := parseHeader(data)
	if err != nil {
		return Packet{}, 0, err
	}
	p = Packet{Flag: h.flag, Sequence: h.seq, Code: string(h.code)}
	if h.length > limit {
		return p, n, fmt.Errorf("%w: %d bytes, at most %d", ErrLongPayload, h.length, limit)
	}
	if uint64(len(data)-n) < h.length {
		return Packet{}, 0, ErrShortPacket
	}
	end := n + int(h.length)
	payload := data[n:end:end]
	n = end
	p.Meta, p.Payload, err = splitMeta(h.flag, payload)
	if err == nil {
		err = checkMeta(p.Meta)
	}
	return p, n, err
}

// header is a packet's header as parseHeader finds it.
type header struct {
	flag   Flag // without the length bits
	seq    uint16
	code   []byte // shares the parsed data's memory
	length uint64 // bytes of payload, metadata included
}

// parseHeader parses the header at the start of data and returns its length. The
// error is ErrShortPacket or ErrLongCode.
func parseHeader(data []byte) (h header, n int, err error) {
	if len(data) < minPacketLen {
		return h, 0, ErrShortPacket
	}
	rest := data[3:]
	end := bytes.IndexByte(rest[:min(len(rest), maxCodeLen+1)], 0)
	if end < 0 {
		if len(rest) > maxCodeLen {
			return h, 0, ErrLongCode
		}
		return h, 0, ErrShortPacket
	}
	flag := Flag(data[0])
	h = header{flag: flag &^ flagLength, seq: binary.BigEndian.Uint16(data[1:]), code: rest[:end:end]}
	n = 3 + end + 1
	width := 1 << (flag & flagLength)
	if len(data)-n < width {
		return header{}, 0, ErrShortPacket
	}
	for _, b := range data[n : n+width] {
		h.length = h.length<<8 | uint64(b)
	}
	return h, n + width, nil
}

// splitMeta divides a payload into its metadata block, if flag says that there is
// one, and its body.
func splitMeta(flag Flag, payload []byte) (meta, body []byte, err error) {
	if flag&FlagMeta == 0 {
		return nil, payload, nil
	}
	size, w := binary.Uvarint(payload)
	if w <= 0 || size > maxMetaLen || size > uint64(len(payload)-w) {
		return nil, nil, fmt.Errorf("%w: the block's length doesn't fit a payload of %d bytes or 8 KiB", ErrBadMeta, len(payload))
	}
	end := w + int(size)
	return payload[w:end:end], payload[end:], nil
}
