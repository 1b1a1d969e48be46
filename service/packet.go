package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// The codes of frames of a call that is open; see docs/PROTOCOL.md.
const (
	itemCode   = ""
	pieceCode  = "+"
	endCode    = "e"
	cancelCode = "c"
	creditCode = "w"
	pingPath   = "fly.ping"
	byePath    = "fly.bye"
	helloPath  = "fly.hello"
)

const (
	// zipBits are the flags of what is compressed.
	zipBits = flyrpc.FlagZipCode | flyrpc.FlagZipPayload
	// maxCode is the most bytes of a code that a connection reads.
	maxCode = 4 << 10
	// lengthBits of the first byte are the width of the length field.
	lengthBits = 3
	// window is what each end of a call may send before it is granted more, in bytes as flow counts them. It is
	// part of what version 1 of the header stands for.
	window = 256 << 10
)

// packet is a packet on the wire, which it shares the memory of.
type packet struct {
	flag    flyrpc.Flag
	seq     uint16
	code    []byte
	payload []byte
	raw     []byte
}

// errCut means that the bytes end before the packet does.
var errCut = errors.New("the packet is cut")

// splitPacket returns the packet that b begins with.
func splitPacket(b []byte) (p packet, err error) {
	if len(b) < 5 {
		return p, errCut
	}
	end := bytes.IndexByte(b[3:], 0)
	if end < 0 {
		return p, errCut
	}
	at, width := 3+end+1, 1<<(b[0]&lengthBits)
	if len(b)-at < width {
		return p, errCut
	}
	var n uint64
	for _, x := range b[at : at+width] {
		n = n<<8 | uint64(x)
	}
	at += width
	if uint64(len(b)-at) < n {
		return p, errCut
	}
	return packet{
		flag: flyrpc.Flag(b[0] &^ lengthBits), seq: binary.BigEndian.Uint16(b[1:]),
		code: b[3 : 3+end], payload: b[at : at+int(n)], raw: b[:at+int(n)],
	}, nil
}

// wholePacket is splitPacket for bytes that have to be one packet, as a peer may have made them.
func wholePacket(b []byte) (p packet, err error) {
	if p, err = splitPacket(b); err != nil {
		return p, err
	}
	switch {
	case len(p.raw) != len(b):
		return p, fmt.Errorf("%d bytes follow the packet", len(b)-len(p.raw))
	case len(p.code) > maxCode: // which would end the connection that all share
		return p, fmt.Errorf("its code has %d bytes, at most %d are accepted", len(p.code), maxCode)
	}
	return p, nil
}

// withSequence sets the sequence of a packet and returns its bytes.
func (p *packet) withSequence(seq uint16) []byte {
	binary.BigEndian.PutUint16(p.raw[1:], seq)
	return p.raw
}

// is reports whether a packet has exactly these of the flags that say what it is.
func (p *packet) is(flag flyrpc.Flag) bool {
	return p.flag&(flyrpc.FlagResponse|flyrpc.FlagWait|flyrpc.FlagStream) == flag
}

// opens reports whether a packet that a connection writes opens a call, or is a message.
func (p *packet) opens() bool {
	return p.flag&flyrpc.FlagResponse == 0 && (p.flag&flyrpc.FlagWait != 0 || p.flag&flyrpc.FlagStream == 0)
}

// creditOf returns what a credit frame grants.
func (p *packet) creditOf() (int, error) {
	n, w := binary.Uvarint(p.payload)
	if w <= 0 || w != len(p.payload) || n > flow.Max || p.flag&(flyrpc.FlagMeta|zipBits) != 0 {
		return 0, errors.New("the credit is no number")
	}
	return int(n), nil
}

// appendCredit appends a credit frame.
func appendCredit(dst []byte, flag flyrpc.Flag, seq uint16, n int) []byte {
	dst, _ = flyrpc.AppendPacket(dst, &flyrpc.Packet{Flag: flag, Sequence: seq, Code: creditCode, Payload: binary.AppendUvarint(nil, uint64(n))})
	return dst
}

// appendError appends an error response. Its text is cut to 1 KiB.
func appendError(dst []byte, seq uint16, code flyrpc.Code, text string, notProcessed bool) []byte {
	p := &flyrpc.Packet{Flag: flyrpc.FlagResponse, Sequence: seq, Code: string(code), Payload: []byte(text[:min(len(text), 1<<10)])}
	if notProcessed {
		p.Meta = flyrpc.AppendMeta(nil, flyrpc.MetaNotProcessed, "", "")
	}
	dst, _ = flyrpc.AppendPacket(dst, p)
	return dst
}

// guard checks the frames of a call that come from the other end of the bus, so that one peer's can't end the connection that
// all share. It is the caller's guard if asks is true.
type guard struct {
	asks    bool
	most    int // bytes of payload in a packet
	in, out int // what the other end and this one may still send
	half    bool
	ended   bool
}

func newGuard(asks bool, most int) guard {
	return guard{asks: asks, most: most, in: window, out: window}
}

// check says what is wrong with a frame that has come.
func (g *guard) check(p *packet) error {
	if len(p.payload) > g.most {
		return fmt.Errorf("a frame has %d bytes, at most %d are accepted", len(p.payload), g.most)
	}
	if p.flag&flyrpc.FlagZipCode != 0 {
		return errors.New("a frame's code is compressed")
	}
	if g.asks && p.is(flyrpc.FlagResponse) {
		return nil
	}
	want := flyrpc.FlagStream
	if g.asks {
		want |= flyrpc.FlagResponse
	}
	if !p.is(want) {
		return fmt.Errorf("a frame has the flags %#x", uint8(p.flag))
	}
	switch string(p.code) {
	case itemCode, pieceCode:
		return g.takes(p, string(p.code) == pieceCode)
	case endCode:
		if g.asks || g.half || g.ended {
			return errors.New("the end of the items comes where none can")
		}
		g.ended = true
		return nil
	case creditCode:
		n, err := p.creditOf()
		if err == nil && n > flow.Max-g.out {
			err = errors.New("more credit than an account holds")
		}
		g.out += n
		return err
	}
	return fmt.Errorf("a frame has the code %.20q", p.code)
}

// takes checks an item or a piece.
func (g *guard) takes(p *packet, piece bool) error {
	g.in -= flow.Cost(len(p.payload))
	switch {
	case g.in < 0:
		return errors.New("more bytes than there was credit for")
	case g.ended:
		return errors.New("an item after their end")
	case piece && p.flag&(flyrpc.FlagMeta|zipBits) != 0:
		return errors.New("a piece with metadata, or compressed by itself")
	}
	g.half = piece
	return nil
}

// sends accounts for a frame that this end sends.
func (g *guard) sends(p *packet) {
	switch string(p.code) {
	case itemCode, pieceCode:
		g.out -= flow.Cost(len(p.payload))
	case creditCode:
		if n, err := p.creditOf(); err == nil {
			g.in += n
		}
	}
}
