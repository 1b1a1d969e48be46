package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
	"github.com/go-flyrpc/flyrpc/transport"
)

// Protocol is the layer between a Conn and its transport: it frames packets, holds
// them to limits, and gathers those that are ready together into one write. Programs
// that want packets and nothing else use it by itself; with a Conn they use
// the Conn.
//
// One goroutine may read while any number write.
type Protocol struct {
	conn net.Conn
	in   reader
	out  writer
	own  *protocolOwn
}

// protocolOwn is what a Protocol has that doesn't belong to a Server or Client.
type protocolOwn struct {
	workers pool.Pool
	bufs    buffers
	once    sync.Once
}

// ProtocolOpts are the options of NewProtocol. nil and the zero value mean the defaults.
type ProtocolOpts struct {
	// MaxFrame is the largest payload accepted, in bytes, metadata included. Default 4 MiB.
	MaxFrame int
	// MaxQueued is the number of bytes waiting to be written from which on WritePacket
	// waits. Default 1 MiB.
	MaxQueued int
	// WriteTimeout is how long the other end may read nothing while bytes wait to be
	// written. Default 10 s.
	WriteTimeout time.Duration
}

// NewProtocol returns a Protocol over conn, which belongs to it from then on.
func NewProtocol(conn net.Conn, opts *ProtocolOpts) *Protocol {
	var o ProtocolOpts
	if opts != nil {
		o = *opts
	}
	setDefault(&o.MaxFrame, DefaultMaxMessage)
	setDefault(&o.MaxQueued, DefaultMaxQueued)
	setDefault(&o.WriteTimeout, DefaultWriteTimeout)
	own := new(protocolOwn)
	p := &Protocol{conn: conn, own: own}
	p.init(&own.workers, &own.bufs, limits{maxFrame: o.MaxFrame, maxQueued: o.MaxQueued, writeTimeout: o.WriteTimeout})
	p.out.fail = func(error) { p.Close() }
	return p
}

// begin prepares the Protocol of a connection of ep.
func (p *Protocol) begin(conn net.Conn, ep *endpoint) {
	p.conn = conn
	p.init(&ep.workers, &ep.bufs, ep.limits)
	p.accept(uint64(ep.limits.maxWhole())) // until hello says that there are pieces
}

// init prepares both sides.
func (p *Protocol) init(workers *pool.Pool, bufs *buffers, l limits) {
	p.in = reader{conn: p.conn, bufs: bufs, max: uint64(l.maxFrame), born: time.Now()}
	p.in.init()
	p.out = writer{conn: p.conn, workers: workers, bufs: bufs, timeout: l.writeTimeout, max: l.maxQueued}
	switch t := p.conn.(type) {
	case *datagramConn:
		p.out.try, p.out.single, p.out.packets = t, true, true
	case transport.TryWriter:
		p.out.try = t
	default:
		if p.in.raw != nil {
			p.out.try = p.in.raw
		}
	}
	p.out.messages, _ = p.conn.(messageConn)
	p.accept(p.in.max)
}

// ReadPacket returns the next packet, which the caller may keep. The errors are the transport's,
// io.EOF between packets and io.ErrUnexpectedEOF within one, ErrLongCode,
// ErrLongPayload and ErrBadMeta. After the last two the next packet can be read: the one that was refused
// has its flag, sequence and code, and its payload was skipped.
func (p *Protocol) ReadPacket() (Packet, error) {
	r, err := p.in.next()
	pkt := Packet{Flag: r.flag, Sequence: r.seq, Code: string(r.code)}
	if errors.Is(err, ErrLongPayload) {
		if skipErr := p.in.skip(r.length); skipErr != nil {
			return Packet{}, skipErr
		}
		return pkt, err
	}
	if err != nil {
		return Packet{}, err
	}
	payload := r.payload
	if r.shared {
		payload = append([]byte(nil), payload...)
	}
	meta, body, err := splitMeta(r.flag, payload)
	if err == nil {
		err = checkMeta(meta)
	}
	if err != nil {
		return pkt, err
	}
	pkt.Meta, pkt.Payload = meta, body
	return pkt, nil
}

// WritePacket queues p, whose bytes it copies, and sees to it that it is written. It
// waits while MaxQueued bytes are queued, until ctx ends. It fails as AppendPacket
// does, and when the connection is closed.
func (p *Protocol) WritePacket(ctx context.Context, pkt *Packet) error {
	f, err := frameOf(pkt)
	if err == nil {
		_, err = p.out.put(ctx, &f, false)
	}
	return err
}

// frameOf returns the frame of a packet, or why there can be none.
func frameOf(pkt *Packet) (frame, error) {
	if err := checkCode(pkt.Code); err != nil {
		return frame{}, err
	}
	if len(pkt.Meta) > maxMetaLen {
		return frame{}, fmt.Errorf("%w: %d bytes, at most %d", ErrBadMeta, len(pkt.Meta), maxMetaLen)
	}
	return frame{
		flag: pkt.Flag &^ (flagLength | FlagMeta), seq: pkt.Sequence, code: pkt.Code,
		meta: pkt.Meta, body: pkt.Payload,
	}, nil
}

// Close closes the connection. What is queued and not written is lost.
func (p *Protocol) Close() error {
	p.out.close(net.ErrClosed)
	if p.own != nil {
		p.own.once.Do(p.own.workers.Close)
	}
	return p.conn.Close()
}
