package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// first takes the accepting end's first packet. It reports true if that was hello.
func (c *Conn) first(p *received) (hello bool, err error) {
	if isHello(p) {
		return c.accept(p)
	}
	if c.datagram != nil {
		return false, fmt.Errorf("flyrpc: the first packet, to %.40q, isn't hello, which has to be said over UDP", p.code)
	}
	if p.flag&(FlagStream|FlagMeta|zipBits) != 0 {
		return false, fmt.Errorf("flyrpc: the first packet is neither hello nor version 1: its flags are %#x", uint8(p.flag))
	}
	if p.flag&FlagResponse == 0 && !printable(p.code) {
		return false, fmt.Errorf("flyrpc: the first packet is neither hello nor version 1: its path is %q", p.code)
	}
	if err := c.authenticate(&Credentials{Version: 1}); err != nil {
		w := c.ep.errors.toWire(err)
		if p.flag&FlagWait != 0 {
			c.farewell(&frame{flag: FlagResponse, seq: p.seq, code: string(w.code), body: []byte(w.message)})
		}
		return false, err
	}
	c.settled()
	return false, c.unhurried()
}

// printable reports whether a path is text without control characters, as that of a
// first packet must be: bytes that aren't packets at all rarely are.
func printable(path []byte) bool {
	return len(path) > 0 && utf8.Valid(path) && bytes.IndexFunc(path, unicode.IsControl) < 0
}

// isHello reports whether a packet is hello, which is never compressed.
func isHello(p *received) bool {
	return p.flag&(FlagWait|FlagResponse|FlagStream|zipBits) == FlagWait && string(p.code) == helloPath
}

// accept answers hello. If this side has spoken before, which makes it a version 1 peer,
// the answer says so.
func (c *Conn) accept(p *received) (hello bool, err error) {
	if err := c.answerHello(p); err != nil {
		return true, err
	}
	return true, c.begun()
}

// answerHello is accept without what follows, which must not wait for others with modeMu held.
func (c *Conn) answerHello(p *received) error {
	c.modeMu.Lock()
	defer c.modeMu.Unlock()
	if c.mode.Load() != nil {
		return c.reject(p.seq, NotFound, "this connection speaks version 1")
	}
	m, answer, err := c.agree(p)
	if err != nil {
		c.refuseHello(p, err)
		return err
	}
	payload, err := json.Marshal(answer)
	if c.datagram != nil && len(payload) > m.maxFrame {
		answer.Info = nil // it has to be one datagram
		payload, err = json.Marshal(answer)
	}
	if err != nil {
		return err
	}
	f := frame{flag: FlagResponse, seq: p.seq, body: payload}
	c.settling.Lock()
	defer c.settling.Unlock()
	if _, err = c.proto.out.put(context.Background(), &f, false); err == nil {
		c.settle(m)
	}
	return err
}

// refuseHello answers hello with the error that refuses it.
func (c *Conn) refuseHello(p *received, err error) {
	w := c.ep.errors.toWire(err)
	c.fitError(&w)
	c.farewell(&frame{
		flag: FlagResponse, seq: p.seq, code: string(w.code), body: []byte(w.message),
		meta: AppendMeta(nil, MetaNotProcessed, "", ""),
	})
}

// agree reads a hello and returns the connection's mode and the answer.
func (c *Conn) agree(p *received) (*mode, *helloMessage, error) {
	meta, data, err := splitMeta(p.flag, p.payload)
	if err == nil {
		err = checkMeta(meta)
	}
	if err != nil {
		return nil, nil, Errorf(BadRequest, "%w", err)
	}
	h, err := parseHello(data)
	if err != nil {
		return nil, nil, Errorf(BadRequest, "hello is no JSON object: %w", err)
	}
	if len(h.Auth) > 0 && h.Auth[0] != '{' {
		return nil, nil, Errorf(BadRequest, "auth in hello is no JSON object")
	}
	if h.Version != 2 {
		return nil, nil, Errorf(BadRequest, "hello with version %d: 2 is known here", h.Version)
	}
	i := slices.IndexFunc(h.Serializers, func(name string) bool { return slices.Contains(serializerNames(c.ep.sers), name) })
	if i < 0 {
		return nil, nil, Errorf(BadRequest, "none of the serializers %q is known here: choose from %v", h.Serializers, serializerNames(c.ep.sers))
	}
	if err := c.authenticate(&Credentials{Auth: h.Auth, Version: 2}); err != nil {
		return nil, nil, err
	}
	ser := c.ep.sers[slices.Index(serializerNames(c.ep.sers), h.Serializers[i])]
	ours := c.ep.ourHello([]serializer.Serializer{ser})
	if c.datagram != nil {
		ours.overDatagrams(c.datagram)
	}
	return c.modeOf(&h, ser), &ours, nil
}

// authenticate sets the connection's identity, or says why the client isn't let in.
func (c *Conn) authenticate(cr *Credentials) error {
	if c.pass.refusal != nil {
		return c.pass.refusal
	}
	if c.srv == nil || c.srv.opts.Auth == nil {
		return nil
	}
	if cr.Version == 1 && !c.srv.opts.AllowV1 {
		return Errorf(Unauthenticated, "version 1 peers have no credentials and are not let in")
	}
	cr.RemoteAddr, cr.TLS, cr.Header = c.RemoteAddr(), c.TLS(), c.Header()
	id, err := c.srv.checkCredentials(c.context(), cr)
	if c.Err() != nil { // which may be all that Auth complains of
		return Errorf(Unavailable, "the connection is closed")
	}
	c.identity = id
	return err
}

// begun ends the handshake's limits on the accepting side and has OnConnect run.
func (c *Conn) begun() error {
	if err := c.unhurried(); err != nil {
		return err
	}
	c.srv.connected(c)
	return nil
}

// unhurried ends the handshake's limits on the accepting side.
func (c *Conn) unhurried() error {
	c.fresh = false
	c.proto.in.parks = c
	c.proto.accept(c.maxPayload())
	return c.proto.conn.SetReadDeadline(time.Time{})
}

// maxPayload returns the largest payload of a packet that is accepted once the handshake is done.
func (c *Conn) maxPayload() uint64 {
	if c.settled().whole {
		return uint64(c.ep.limits.maxWhole())
	}
	return uint64(c.ep.limits.maxFrame)
}

// begin handles the first packet of a version 1 peer, or the first command. OnConnect runs afterwards, and the packet
// waits for it: so it is there to be answered if OnConnect refuses the connection.
func (c *Conn) begin(handle func() error) error {
	if !c.srv.greets() {
		c.srv.connected(c)
	}
	if err := handle(); err != nil {
		return err
	}
	c.srv.connected(c)
	return nil
}

// beforeWait is called before the reader waits for more bytes.
func (c *Conn) beforeWait() {
	if c.fresh && !c.hurried && c.proto.in.buffered() > 0 {
		c.hurried = true // the first packet has begun: it has to come to an end
		_ = c.proto.conn.SetReadDeadline(time.Now().Add(c.ep.limits.helloTimeout))
	}
	c.proto.out.kick()
	// What came together is to be answered together, before looking for more; and whoever has got an answer amid a
	// transfer, of which there is always more to read, is to go on.
	if c.batch > 1 || c.woken && c.proto.in.brief {
		runtime.Gosched()
	}
	c.batch, c.woken = 0, false
}

// farewell writes a last packet and waits until it is written.
func (c *Conn) farewell(f *frame) {
	ctx, cancel := context.WithTimeout(context.Background(), lingerFor)
	defer cancel()
	if _, err := c.proto.out.put(ctx, f, false); err != nil {
		return
	}
	if c.proto.out.drain(ctx) != nil {
		return
	}
	if half, ok := c.proto.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.discard(lingerFor)
	}
}

// discard reads and drops what still comes, so that closing doesn't take what was
// written last from the other end.
func (c *Conn) discard(d time.Duration) {
	if c.proto.conn.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.proto.conn, maxSkip*maxHello)
}
