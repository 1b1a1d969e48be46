package flyrpc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/internal/pool"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/transport"
)

// endpoint is what the connections of one Server or Client share.
type endpoint struct {
	router  *Router
	limits  limits
	errors  errorTable
	log     *slog.Logger
	workers pool.Pool
	bufs    buffers
	watcher watcher
	parking parking
	mode    atomic.Pointer[mode] // of the connection settled last, for others that agree on the same
	zipOpts Zip
	zipper  *compress.Codec
	scratch sync.Pool // *[]byte, to compress bodies in
	encs    sync.Pool // *encBuf, to encode one-way messages in
	invoke  Invoker   // with the interceptors, or nil
	sers    []serializer.Serializer
	v1ser   serializer.Serializer
	info    json.RawMessage
	onLost  func(addr net.Addr, err error) // ServerOpts.OnLostConn; may be nil
	lastID  atomic.Uint64
}

// mode is what the handshake has settled for a connection, and for others that have agreed on the same. It isn't changed.
type mode struct {
	v1         bool
	whole      bool // calls and messages in one packet each: no items, no pieces, no credit. So it is with version 1
	foreign    bool // it doesn't know FlyRPC's own packets, nor limits: no bye, no pings to keep it alive. So it is with version 1
	json       bool // packets become JSON commands: what is encoded is checked before it is sent, as it could end others
	http       bool // one call by HTTP: what the other end sends doesn't say what it is, and it can't be called
	packet     int  // the most bytes of a packet, over datagrams; else 0
	ser        serializer.Serializer
	maxMessage int // what the other end accepts
	maxFrame   int
	window     int             // what it lets this side send for a call before it grants more
	messages   int             // the same for one-way messages
	part       int             // the most bytes of payload in an item or piece
	codes      int             // learned codes that it keeps
	zipBody    compress.Method // what this side compresses by
	zipCode    compress.Method
	minZip     int           // bytes from which bodies are compressed
	keepalive  time.Duration // after which the other end pings; 0 if it doesn't
	peer       PeerInfo
}

// Conn is one live connection, the same on both ends. Programs keep it to push to the
// other end later. All methods may be called concurrently.
type Conn struct {
	ep       *endpoint
	srv      *Server // on the accepting side
	pass     pass    // the same
	id       uint64
	proto    *Protocol
	datagram *datagramConn // the transport's connection, if that is one of packets; else nil
	turn     turn
	rest     rest
	calls    callTable
	in       inbox

	messages outflow                // what this side may send as one-way messages
	setAside atomic.Pointer[memory] // nil until it is needed

	mode atomic.Pointer[mode]

	reading
	watch watch

	identity any
	opened   sync.Once
	greeted  chan struct{} // closed when OnConnect has run; nil if it never started
	onPacket atomic.Pointer[func(*Packet) bool]
	onRaw    atomic.Pointer[func(*Packet) bool]

	modeMu     sync.Mutex
	settling   sync.Mutex // held from the answer to hello until its mode is settled
	values     sync.Map
	draining   atomic.Bool               // no request is served any more
	retiring   atomic.Bool               // it ends in order, and what has come by then is still served
	casting    atomic.Bool               // a large broadcast is being sent
	handedOver atomic.Bool               // the transport's connection is another protocol's
	leaving    atomic.Bool               // nothing is open and this side takes its leave: no end is amiss
	refused    atomic.Pointer[wireError] // why new requests are not served, if not for a shutdown
	// drained has capacity 1: something that awaitIdle waits for has ended. It is nil until that may be called.
	drained atomic.Pointer[chan struct{}]
	closing sync.Once
	done    chan struct{} // closed when the connection is closing
	ended   chan struct{} // closed when nobody reads any more
	over    chan struct{} // closed when the connection is off the books; nil if nobody asks
	silent  *time.Timer   // until the first packet of a connection that may be silent
	reason  error         // why it closed; read after done
	bye     atomic.Pointer[Error]
	onSpent func() // tells a client that the connection is lost or takes no new calls; nil on the accepting side
}

// reading belongs to whoever reads a connection.
type reading struct {
	fresh   bool // the accepting side has handled no packet yet
	hurried bool // the first packet has its deadline
	eager   bool // the handshake is done and the first packet there, for which OnConnect waits
	dropped bool // a message was dropped, and logged
	batch   int  // packets handled since the reader last waited
	woken   bool // a caller was since
	handed  *handed
	cut     *cutter            // nil until a caller with a context reads
	alone   *incoming          // to be run by the reader itself
	answers []byte             // for inline handlers' replies
	halves  map[uint16]*Stream // requests and messages of which only pieces have come
	learned learned            // the paths that the other end's codes stand for

	loneAnswers, loneRequests int // how many came alone, one after the other
	slowSolos                 int // how slow handlers were on the reader
}

// newConn returns a connection that has not begun to read.
func newConn(ep *endpoint, nc net.Conn) *Conn {
	one := new(struct { // one piece of memory
		c Conn
		p Protocol
	})
	c := &one.c
	c.ep, c.id, c.proto = ep, ep.lastID.Add(1), &one.p
	c.done, c.ended = make(chan struct{}), make(chan struct{})
	c.in.canWait = func() bool { return !c.calls.awaits() }
	if packets, ok := nc.(transport.PacketConn); ok {
		c.datagram = newDatagramConn(packets, &ep.limits)
		nc = c.datagram
		c.calls.rest = sequenceRest / 2             // a slot has two sequences
		c.in.canWait = func() bool { return false } // a message may be lost, but what else comes must not wait for it
	}
	c.proto.begin(nc, ep)
	c.proto.out.fail = c.close
	c.proto.in.wait = c.beforeWait
	c.proto.in.began = c.packetBegan
	c.watchOver(&ep.limits)
	c.in.limit = ep.limits.maxCalls
	c.in.window = flow.NewWindow(ep.limits.messages)
	c.calls.onLost = func() {
		c.close(localErr(Unavailable, Unknown, nil, "a quarter of the calls wait for answers that don't come"))
	}
	c.calls.onFree = c.progress
	return c
}

// ID returns a number that no other connection of the Server or Client has had.
func (c *Conn) ID() uint64 { return c.id }

// RemoteAddr returns the transport's address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.proto.conn.RemoteAddr() }

// LocalAddr returns the transport's address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.proto.conn.LocalAddr() }

// TLS returns the state of the TLS connection, or nil if there is none. The other end's certificate is
// PeerCertificates[0]. A server has verified it if VerifiedChains isn't empty, which its Config.ClientAuth
// demands or allows; a client always has, unless its Config has InsecureSkipVerify.
func (c *Conn) TLS() *tls.ConnectionState {
	return tlsState(c.proto.conn)
}

// tlsState returns the state of the TLS connection that nc is, or is made of, or nil.
func tlsState(nc net.Conn) *tls.ConnectionState {
	switch t := nc.(type) {
	case interface{ ConnectionState() tls.ConnectionState }:
		state := t.ConnectionState()
		return &state
	case interface{ NetConn() net.Conn }:
		return tlsState(t.NetConn())
	}
	return nil
}

// Header returns the header of the HTTP request that the connection began with, with its cookies, or nil if it is of
// another kind: it is that of a WebSocket's upgrade, or of a call by HTTP. On the dialling end it is that of the server's answer, with
// the cookies that it sets. It must not be changed.
func (c *Conn) Header() http.Header {
	return headerOf(c.proto.conn)
}

// headerOf returns the header that a connection of HTTP, which nc is or is made of, began with, or nil.
func headerOf(nc net.Conn) http.Header {
	switch t := nc.(type) {
	case interface{ Header() http.Header }:
		return t.Header()
	case interface{ NetConn() net.Conn }:
		return headerOf(t.NetConn())
	}
	return nil
}

// Identity returns what ServerOpts.Auth made of the client's credentials, or nil.
func (c *Conn) Identity() any { return c.identity }

// PeerInfo returns what the other end said of itself in hello. Its Version is 1
// while it hasn't said hello.
func (c *Conn) PeerInfo() PeerInfo {
	if m := c.mode.Load(); m != nil {
		return m.peer
	}
	return PeerInfo{Version: 1}
}

// SetValue keeps a value with the connection, for handlers that come later. The key
// is compared as a map's.
func (c *Conn) SetValue(key, value any) { c.values.Store(key, value) }

// Value returns what SetValue has kept for key, or nil.
func (c *Conn) Value(key any) any {
	v, _ := c.values.Load(key)
	return v
}

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection is alive, and then why it ended: io.EOF if
// the other end closed it in order, net.ErrClosed if this one did.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.reason
	default:
		return nil
	}
}

// Close closes the connection at once: open calls in both directions end with UNAVAILABLE. It
// returns nil, also when the connection was closed before.
func (c *Conn) Close() error {
	c.close(net.ErrClosed)
	return nil
}

// drain has new requests refused.
func (c *Conn) drain() {
	c.tellEnds()
	c.draining.Store(true)
}

// tellEnds has awaitIdle told from now on when something ends.
func (c *Conn) tellEnds() {
	ended := make(chan struct{}, 1)
	c.drained.CompareAndSwap(nil, &ended)
}

// progress tells awaitIdle that something has ended.
func (c *Conn) progress() {
	ended := c.drained.Load()
	if ended == nil {
		return
	}
	select {
	case *ended <- struct{}{}:
	default:
	}
}

// answered says that an answer is queued, or can't be.
func (c *Conn) answered() {
	c.in.answering.Add(-1)
	c.progress()
}

// close ends the connection with a reason. Only the first call counts.
func (c *Conn) close(reason error) {
	c.closing.Do(func() {
		c.reason = reason
		close(c.done)
		c.endWatch()
		lost := c.lostError(reason)
		c.proto.out.close(lost)
		refusal := *lost
		refusal.delivery = NotSent
		c.calls.close(&refusal, lost)
		c.messages.end(&refusal)
		c.in.close(lost)
		if !c.handedOver.Load() {
			c.sayWhy(reason)
			c.proto.conn.Close()
		}
		c.resume() // somebody has to find out
		c.tellSpent()
	})
}

// tellSpent tells the client that it needs another connection.
func (c *Conn) tellSpent() {
	if c.onSpent != nil {
		c.onSpent()
	}
}

// inOrder reports whether the connection, which is closed, ended in order.
func (c *Conn) inOrder() bool {
	return orderly(c.reason) || errors.Is(c.reason, ErrServerClosed) || c.leaving.Load()
}

// lostError returns what ends the calls of a connection that is gone.
func (c *Conn) lostError(reason error) *Error {
	if bye := c.bye.Load(); bye != nil && bye.Code != Unavailable {
		lost := *bye
		lost.delivery = Unknown
		return &lost
	}
	var e *Error
	if errors.As(reason, &e) && e.Code == Unavailable {
		return e
	}
	what := "the connection was lost"
	switch {
	case errors.Is(reason, io.EOF):
		what = "the other end closed the connection"
	case errors.Is(reason, net.ErrClosed):
		what = "the connection is closed"
	}
	return localErr(Unavailable, Unknown, reason, "%s: %v", what, reason)
}

// linger closes the connection when what is queued is written and the other end has
// read it, or ctx ends.
func (c *Conn) linger(ctx context.Context, reason error) {
	c.resume()
	if err := c.proto.out.drain(ctx); err == nil && !c.handedOver.Load() {
		c.endWatch() // which could ping, and that can't be written any more
		c.sayWhy(reason)
		if half, ok := c.proto.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			c.awaitEnd(ctx)
		}
	}
	c.close(reason)
}

// lingerFor is how long a connection that is done waits for the other end to close too.
const lingerFor = time.Second

// awaitEnd waits, for lingerFor at most, until the reader has seen the other end close.
func (c *Conn) awaitEnd(ctx context.Context) {
	timer := time.NewTimer(lingerFor)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}
