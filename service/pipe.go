package service

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// maxFed is how many bytes wait to be read by a connection before those that feed it from a subscription wait.
const maxFed = 1 << 20

// pipe is the net.Conn below the flyrpc.Conn of one end: what its Read returns are packets made of bus messages, and what is
// written to it are packets that become some.
type pipe struct {
	take  func(ps []packet) // takes the packets that one Write has brought to their end
	ended func()            // called once, when it is closed

	mu     sync.Mutex
	in     []byte
	read   int
	closed bool
	cut    bool          // Read returns at once
	ready  chan struct{} // capacity 1: there is something to read
	room   chan struct{} // capacity 1: something was read

	rest []byte   // of what is written: a packet that isn't whole; the writer's own
	out  []packet // being taken; the same
}

func newPipe(take func([]packet), ended func()) *pipe {
	return &pipe{take: take, ended: ended, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// poke wakes who waits at c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// feed has b read.
func (p *pipe) feed(b []byte) {
	p.add(b)
	p.wake()
}

// add is feed without waking the reader, which wake does: when several packets come together.
func (p *pipe) add(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takes() {
		p.in = append(p.in, b...)
	}
}

// addFrom is add for a packet that opens a call, with a sequence and who sends it.
func (p *pipe) addFrom(pkt *packet, seq uint16, source []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takes() {
		p.in = pkt.appendFrom(p.in, seq, source)
	}
}

// takes reports whether somebody reads, and uses the memory again that all of was read. It is called with mu held.
func (p *pipe) takes() bool {
	if p.read == len(p.in) {
		p.in, p.read = p.in[:0], 0
	}
	return !p.closed
}

// wake has the reader look at what was added.
func (p *pipe) wake() { poke(p.ready) }

// await waits while much is unread, before more that comes from the bus is fed.
func (p *pipe) await() {
	for p.unread() > maxFed {
		p.wake()
		<-p.room
	}
}

// unread returns how many bytes wait to be read, 0 if nobody will.
func (p *pipe) unread() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		poke(p.room) // for the next one who waits
		return 0
	}
	return len(p.in) - p.read
}

// Read implements net.Conn.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n := copy(b, p.in[p.read:])
		p.read += n
		if p.read == len(p.in) && cap(p.in) > maxFed {
			p.in, p.read = nil, 0
		}
		closed, cut := p.closed, p.cut
		p.mu.Unlock()
		switch {
		case n > 0:
			poke(p.room)
			return n, nil
		case closed:
			return 0, io.EOF
		case cut:
			return 0, os.ErrDeadlineExceeded
		}
		<-p.ready
	}
}

// TryWrite implements transport.TryWriter: the bus takes what is published at once.
func (p *pipe) TryWrite(b []byte) (int, error) { return p.Write(b) }

// Write implements net.Conn. Calls don't overlap.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	n := len(b)
	if len(p.rest) > 0 {
		p.rest = append(p.rest, b...)
		b = p.rest
	}
	for len(b) > 0 {
		pkt, err := splitPacket(b)
		if err != nil {
			break
		}
		b = b[len(pkt.raw):]
		p.out = append(p.out, pkt)
	}
	if len(p.out) > 0 {
		p.take(p.out)
		clear(p.out)
		p.out = p.out[:0]
	}
	p.rest = append(p.rest[:0], b...)
	return n, nil
}

// Close implements net.Conn.
func (p *pipe) Close() error {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	poke(p.ready)
	poke(p.room)
	if !was {
		p.ended()
	}
	return nil
}

// CloseWrite says that nothing is written any more: the other end of the pipe has then read all, and closes too.
func (p *pipe) CloseWrite() error { return p.Close() }

// LocalAddr implements net.Conn.
func (p *pipe) LocalAddr() net.Addr { return busAddr{} }

// RemoteAddr implements net.Conn.
func (p *pipe) RemoteAddr() net.Addr { return busAddr{} }

// SetDeadline implements net.Conn.
func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetReadDeadline ends a Read if t has passed. Other times do nothing: nothing on a pipe takes time but waiting for the other end, which
// Close ends.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = !t.IsZero() && !t.After(time.Now())
	if p.cut {
		poke(p.ready)
	}
	return nil
}

// ReadInTurns implements transport.TurnReader.
func (p *pipe) ReadInTurns() {}

// SetWriteDeadline does nothing.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// busAddr is the address of a bus.
type busAddr struct{}

// Network returns "bus".
func (busAddr) Network() string { return "bus" }

// String returns "bus".
func (busAddr) String() string { return "bus" }

// hello is what the connections of both ends are told of the other one, which is somewhere on the bus.
type hello struct {
	Version     int      `json:"flyrpc"`
	Agent       string   `json:"agent"`
	Serializers []string `json:"serializers"`
	Inflate     []string `json:"inflate"`
	Message     int      `json:"message"`
	Frame       int      `json:"frame"`
	Calls       int      `json:"calls"`
	Window      int      `json:"window"`
	Messages    int      `json:"messages"`
	Codes       int      `json:"codes"`
}

// feedHello feeds hello, as a request or, with FlagResponse, as the answer to one.
func (p *pipe) feedHello(flag flyrpc.Flag, h hello) {
	h.Version, h.Agent, h.Inflate, h.Window = 2, "flyrpc-service", []string{"zstd", "flate"}, window
	pkt := &flyrpc.Packet{Flag: flag, Sequence: 65535, Payload: []byte("{}")}
	if b, err := json.Marshal(h); err == nil {
		pkt.Payload = b
	}
	if flag&flyrpc.FlagResponse == 0 {
		pkt.Code = helloPath
	}
	b, _ := flyrpc.AppendPacket(nil, pkt)
	p.feed(b)
}

// local answers packets that a connection sends for its own sake, and reports whether p is one.
func (p *pipe) local(pkt *packet) bool {
	switch {
	case pkt.is(flyrpc.FlagWait) && string(pkt.code) == pingPath:
		b, _ := flyrpc.AppendPacket(nil, &flyrpc.Packet{Flag: flyrpc.FlagResponse, Sequence: pkt.seq, Payload: pkt.payload})
		p.feed(b)
		return true
	case pkt.is(0) && string(pkt.code) == byePath:
		return true
	}
	return false
}
