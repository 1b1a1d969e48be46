package wiretest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bits of a packet's first byte.
const (
	flagResponse   = 0x80
	flagWait       = 0x40
	flagStream     = 0x20
	flagMeta       = 0x10
	flagZipCode    = 0x08
	flagZipPayload = 0x04
	flagLength     = 0x03
)

const (
	maxCode    = 4096
	maxPayload = 64 << 20
)

// packet is one packet, its flag without the two bits that say how long the length field is.
type packet struct {
	flag    byte
	seq     uint16
	code    []byte
	payload []byte
	raw     []byte // as it came; nil for one that was made here
	path    []byte // what the code stands for, if that was looked for
}

// codeOrPath returns what the code stands for.
func (p *packet) codeOrPath() []byte {
	if p.path != nil {
		return p.path
	}
	return p.code
}

// lengthSize returns how many bytes the shortest length field for n has, as its two bits say it.
func lengthSize(n uint64) byte {
	switch {
	case n < 1<<8:
		return 0
	case n < 1<<16:
		return 1
	case n < 1<<32:
		return 2
	}
	return 3
}

// appendHeader appends the header of a packet with n bytes of payload, and a length field as bits say.
func appendHeader(dst []byte, flag byte, seq uint16, code []byte, n uint64, bits byte) []byte {
	dst = append(dst, flag|bits, byte(seq>>8), byte(seq))
	dst = append(append(dst, code...), 0)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], n)
	return append(dst, length[8-(1<<bits):]...)
}

// bytes returns the packet as it stands on the wire.
func (p *packet) bytes() []byte {
	n := uint64(len(p.payload))
	return append(appendHeader(nil, p.flag, p.seq, p.code, n, lengthSize(n)), p.payload...)
}

// readPacket reads one packet. Its length field must be the shortest.
func readPacket(r io.ByteReader, full func([]byte) error) (*packet, error) {
	raw, err := readHead(r)
	if err != nil {
		return nil, err
	}
	p := &packet{}
	bits := raw[0] & flagLength
	p.flag, p.seq, p.code = raw[0]&^flagLength, binary.BigEndian.Uint16(raw[1:]), raw[3:len(raw)-1]
	var length [8]byte
	if err := full(length[8-(1<<bits):]); err != nil {
		return nil, cut(err)
	}
	n := binary.BigEndian.Uint64(length[:])
	raw = append(raw, length[8-(1<<bits):]...)
	switch {
	case n > maxPayload:
		return nil, fmt.Errorf("a payload of %d bytes came: %x", n, raw)
	case bits != lengthSize(n):
		return nil, fmt.Errorf("the length field %x isn't the shortest for %d bytes: %x", length[8-(1<<bits):], n, raw)
	}
	header := len(raw)
	raw = append(raw, make([]byte, n)...)
	if err := full(raw[header:]); err != nil {
		return nil, cut(err)
	}
	p.payload, p.raw = raw[header:], raw
	return p, nil
}

// readHead reads the flag, the sequence and the code with its zero.
func readHead(r io.ByteReader) ([]byte, error) {
	var raw []byte
	for len(raw) <= 3+maxCode {
		b, err := r.ReadByte()
		switch {
		case err != nil && len(raw) > 0:
			return nil, cut(err)
		case err != nil:
			return nil, err
		}
		if raw = append(raw, b); b == 0 && len(raw) > 3 {
			return raw, nil
		}
	}
	return nil, fmt.Errorf("a code of more than %d bytes came: %.60x", maxCode, raw)
}

// cut returns the error for bytes that end within a packet.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parsePacket reads a packet that is all of data.
func parsePacket(data []byte) (*packet, error) {
	r := bytes.NewReader(data)
	p, err := readPacket(r, func(b []byte) error {
		_, err := io.ReadFull(r, b)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.60x is no packet: %w", data, err)
	case r.Len() > 0:
		return nil, fmt.Errorf("%d bytes stand behind the packet", r.Len())
	}
	return p, nil
}

// splitMeta divides a payload into its metadata block, with the length before it, and the body.
func splitMeta(flag byte, payload []byte) (block, body []byte, err error) {
	if flag&flagMeta == 0 {
		return nil, payload, nil
	}
	n, w := binary.Uvarint(payload)
	if w <= 0 || n > uint64(len(payload)-w) {
		return nil, nil, errors.New("its metadata doesn't fit the payload")
	}
	end := w + int(n)
	return payload[:end], payload[end:], nil
}

// flagNames writes the bits of a flag.
func flagNames(flag byte) string {
	var names []string
	for i, name := range []string{"RESPONSE", "WAIT", "STREAM", "META", "ZIPCODE", "ZIPPAYLOAD"} {
		if flag&(flagResponse>>i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "no flags"
	}
	return strings.Join(names, " ")
}

// String describes the packet and ends with its bytes in hex.
func (p *packet) String() string {
	raw := p.raw
	if raw == nil {
		raw = p.bytes()
	}
	block, body, err := splitMeta(p.flag, p.payload)
	meta := ""
	if len(block) > 0 {
		meta = fmt.Sprintf(", metadata %s", shortHex(block))
	}
	if err != nil {
		meta, body = ", metadata that doesn't fit", p.payload
	}
	return fmt.Sprintf("%s, sequence %d, code %q%s, body of %d bytes %s: %s",
		flagNames(p.flag), p.seq, short(p.code), meta, len(body), shortText(body), shortHex(raw))
}

// short cuts long bytes for messages.
func short(b []byte) []byte { return b[:min(len(b), 120)] }

// shortText is short, quoted.
func shortText(b []byte) string { return fmt.Sprintf("%q", short(b)) + dots(b) }

// shortHex is short in hex.
func shortHex(b []byte) string { return fmt.Sprintf("%x", short(b)) + dots(b) }

func dots(b []byte) string {
	if len(b) > len(short(b)) {
		return "..."
	}
	return ""
}
