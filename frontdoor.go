package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// What a connection is for shows in its first byte. Where that has to be known before
// anything else happens, because TLS is configured, the connection is at the front door
// until it is: an entrant, with a goroutine of its own, that MaxConns
// counts and nothing else. All other
// connections are packets from the start, and their reader has Conn.opening look at the
// first byte that comes.

// firstTLS is the first byte of a TLS handshake. No first packet begins with it.
const firstTLS = 0x16

// opening says why the first byte of a connection, whose reader it is, is not that of a packet.
// A connection that begins another protocol is handed over to that: see entry.go.
func (c *Conn) opening(first byte) error {
	if c.webSocket() != nil { // packets, whatever they begin with
		return nil
	}
	if first != firstTLS {
		if c.srv.foreign(first) {
			return errForeign
		}
		return nil
	}
	switch {
	case c.TLS() != nil:
		return errors.New("flyrpc: the client began TLS once more within TLS")
	case c.srv.opts.TLS == nil:
		return errors.New("flyrpc: the client speaks TLS, and ServerOpts.TLS is not set")
	}
	return fmt.Errorf("flyrpc: the client began TLS later than %v after it had connected", silentFor)
}

// handshaker is a connection that is agreed on before it can be used, as one of TLS is.
type handshaker interface {
	HandshakeContext(ctx context.Context) error
}

// isLocal reports whether nobody but this system is between the ends of a connection.
func isLocal(nc net.Conn) bool {
	addr := nc.LocalAddr()
	if addr == nil {
		return false
	}
	switch addr.Network() {
	case "unix", "unixpacket", "mem", "pipe":
		return true
	}
	return false
}

// accept has a connection served, by way of the front door if it needs that, and closes over, if that isn't nil, when it has
// ended. It reports false if it was closed at once: the server is stopping, or has too many.
func (s *Server) accept(nc net.Conn, over chan struct{}) bool {
	p, ok := s.admit(nc)
	if !ok {
		nc.Close()
		s.ep.lost(nc.RemoteAddr(), p.refusal)
		return false
	}
	_, shakes := nc.(handshaker)
	_, packets := nc.(transport.PacketConn)
	if packets && !shakes && s.opts.TLS != nil && !s.opts.AllowPlain {
		s.refusePackets(nc, p)
		return false
	}
	if c, ok := nc.(*websocket.Conn); ok {
		return s.startWeb(c, p, over)
	}
	if !shakes && (s.opts.TLS == nil || packets) {
		return s.start(nc, p, over, nil)
	}
	e := &entrant{srv: s, conn: nc, pass: p, over: over}
	s.mu.Lock()
	refuse := s.stopping
	if refuse {
		s.leave(&e.pass)
	} else {
		s.entrants[e] = struct{}{}
	}
	s.mu.Unlock()
	if refuse {
		nc.Close()
		return false
	}
	s.ep.workers.Go(e, nil)
	return true
}

// refusePackets closes a connection of packets, which is never encrypted, because TLS is configured.
func (s *Server) refusePackets(nc net.Conn, p pass) {
	s.mu.Lock()
	s.leave(&p)
	s.mu.Unlock()
	nc.Close()
	err := errors.New("flyrpc: the client came over UDP, which isn't encrypted, and ServerOpts.TLS is set: set AllowPlain to serve it")
	s.ep.lost(nc.RemoteAddr(), err)
	s.refusals.warn(s.ep.log, "flyrpc: connection refused", "peer", addrString(nc.RemoteAddr()), "reason", err.Error())
}

// entrant is a connection at the front door.
type entrant struct {
	srv    *Server
	conn   net.Conn // the transport's; it may be closed by others
	pass   pass
	over   chan struct{}
	in     reader
	begun  []byte // what has come of it, if a Conn has handed it over
	spoken bool   // that Conn has sent something
	past   bool   // the door is behind it: it is served, or refused because the server is stopping. The server's lock guards it
}

// closeEntrants closes the connections at the front door. Once the server is stopping no others come.
func (s *Server) closeEntrants() {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.entrants))
	for e := range s.entrants {
		if !e.past {
			conns = append(conns, e.conn)
		}
	}
	s.mu.Unlock()
	for _, nc := range conns {
		nc.Close()
	}
}

// Run lets the connection in, or closes it.
func (e *entrant) Run(w *pool.Worker) {
	w.In, w.Out = nil, nil
	err := errors.New("flyrpc: the handshake panicked, or ended its goroutine")
	defer func() {
		if r := recover(); r != nil { // of a function in ServerOpts.TLS
			e.srv.ep.log.Error("flyrpc: the handshake panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
		e.entered(err)
	}()
	err = e.enter()
}

// entered takes the connection off the front door's books. With an error it isn't let in, and closed.
func (e *entrant) entered(err error) {
	s := e.srv
	if err != nil {
		e.in.release()
		e.conn.Close()
		if !s.isStopping() {
			s.ep.lost(e.conn.RemoteAddr(), err)
			s.refusals.warn(s.ep.log, "flyrpc: connection refused", "peer", addrString(e.conn.RemoteAddr()), "reason", err.Error())
		}
	}
	s.mu.Lock()
	delete(s.entrants, e)
	if !e.past {
		s.leave(&e.pass)
	}
	s.mu.Unlock()
	s.tellEnded()
	if err != nil && e.over != nil {
		close(e.over)
	}
}

// enter finds out what the connection is for and lets it in, or says why not.
func (e *entrant) enter() error {
	if e.begun != nil {
		return e.serveForeign(e.conn, e.begun)
	}
	if t, ok := e.conn.(handshaker); ok {
		return e.secure(t, e.conn)
	}
	e.in = reader{conn: e.conn, bufs: &e.srv.ep.bufs, max: maxHello}
	e.in.init()
	local := isLocal(e.conn)
	first, err := e.look(local)
	switch {
	case err != nil:
		return err
	case first == firstTLS:
		begun := bytes.Clone(e.in.buf[e.in.r:e.in.w])
		e.in.release()
		t := transport.TLSServer(&begunConn{e.conn, begun}, e.srv.opts.TLS)
		return e.secure(t, t)
	case (local || e.srv.opts.AllowPlain) && e.srv.foreign(first):
		begun := bytes.Clone(e.in.buf[e.in.r:e.in.w])
		e.in.release()
		return e.serveForeign(e.conn, begun)
	case local || e.srv.opts.AllowPlain:
		return e.welcome(e.conn, &e.in)
	}
	e.refusePlain(first)
	return fmt.Errorf("flyrpc: the client doesn't speak TLS: its first byte is %#x. It has to dial tls://, or the server to set AllowPlain", first)
}

// look waits for the first bytes and returns the first of them, or 0 for a connection that may be
// silent and is. What was read is in e.in.
func (e *entrant) look(maySilent bool) (first byte, err error) {
	wait := e.srv.ep.limits.helloTimeout
	if maySilent {
		wait = silentFor
	}
	if err := e.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	err = e.in.fill()
	switch {
	case err == nil:
		return e.in.buf[e.in.r], nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("flyrpc: the connection ended before its first byte: %w", err)
	case maySilent:
		e.in.release()
		return 0, nil
	}
	return 0, fmt.Errorf("flyrpc: the client said nothing for %v: with ServerOpts.TLS set it has to speak first", wait)
}

// secure performs the handshake and lets the connection in.
func (e *entrant) secure(t handshaker, nc net.Conn) error {
	if err := e.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	timeout := e.srv.ep.limits.helloTimeout
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("flyrpc: the handshake took longer than %v", timeout)
	}
	if err != nil {
		e.partFrom() // what is wrong was said to the client, and should arrive
		return fmt.Errorf("flyrpc: the handshake failed: %w", err)
	}
	return e.welcome(nc, nil)
}

// welcome has the connection served as one of packets, of which in has read the first bytes if it
// isn't nil.
func (e *entrant) welcome(nc net.Conn, in *reader) error {
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if !e.leaveDoor() || !e.srv.start(nc, e.pass, e.over, in) {
		return ErrServerClosed
	}
	return nil
}

// refusePlain tells a client that speaks packets without TLS, if its first one is a request, what
// is wrong.
func (e *entrant) refusePlain(first byte) {
	if Flag(first)&^flagLength != FlagWait {
		return
	}
	p, err := e.in.next()
	if err != nil {
		return
	}
	answer := Packet{Flag: FlagResponse, Sequence: p.seq, Code: string(BadRequest), Payload: []byte("this server speaks TLS: dial tls:// instead")}
	if isHello(&p) {
		answer.Meta = AppendMeta(nil, MetaNotProcessed, "", "")
	}
	b, err := AppendPacket(nil, &answer)
	if err != nil || e.conn.SetWriteDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	if _, err := e.conn.Write(b); err == nil {
		e.partFrom()
	}
}

// partFrom ends what is sent and reads, for lingerFor at most, until the other end has closed too, so
// that closing doesn't take what was written last from it.
func (e *entrant) partFrom() {
	half, ok := e.conn.(interface{ CloseWrite() error })
	if ok && half.CloseWrite() == nil && e.conn.SetReadDeadline(time.Now().Add(lingerFor)) == nil {
		_, _ = io.CopyN(io.Discard, e.conn, maxSkip*maxHello)
	}
}

// begunConn is a connection of which some bytes were read already.
type begunConn struct {
	net.Conn
	begun []byte
}

// NetConn returns the connection that was read from.
func (c *begunConn) NetConn() net.Conn { return c.Conn }

// Read reads what was read already, and then the connection.
func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.begun)
	if c.begun = c.begun[n:]; len(c.begun) == 0 {
		c.begun = nil
	}
	return n, nil
}
