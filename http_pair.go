package flyrpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/transport"
)

// A call by HTTP is a call over a connection of its own, inside the process: one end is served as any other that has said
// hello, the other end is a Conn that calls and knows JSON as bytes. So limits, deadlines, cancellation, streams,
// panics and errors are those of every call.

// webBody is JSON that is passed on as it is.
type webBody []byte

// rawSerializer is the JSON serializer of the calling end, which takes webBody and makes it of everything.
type rawSerializer struct{}

var _ serializer.Serializer = rawSerializer{}

// Name is that of JSON.
func (rawSerializer) Name() string { return jsonser.Serializer.Name() }

// Encode appends a webBody.
func (rawSerializer) Encode(dst []byte, v any) ([]byte, error) {
	raw, ok := v.(webBody)
	if !ok {
		return dst, fmt.Errorf("%T is no webBody", v)
	}
	return append(dst, raw...), nil
}

// Decode makes v, a *any, a webBody.
func (rawSerializer) Decode(data []byte, v any) error {
	p, ok := v.(*any)
	if !ok {
		return fmt.Errorf("%T is no *any", v)
	}
	*p = webBody(bytes.Clone(data))
	return nil
}

// callerEndpoint returns the endpoint of the calling ends of HTTP calls to ep.
func callerEndpoint(ep *endpoint) *endpoint {
	l := ep.limits
	l.keepaliveTime, l.idleTimeout, l.maxConnAge = -1, 0, 0
	sers := []serializer.Serializer{rawSerializer{}}
	return &endpoint{router: NewRouter(), limits: l, log: ep.log, sers: sers, v1ser: sers[0], zipper: ep.zipper}
}

// newModes returns what both ends of a call by HTTP have agreed on: what the serving end knows of the other, and the reverse.
func (h *web) newModes() [2]*mode {
	l := h.srv.ep.limits
	ser := serializer.Serializer(jsonser.Serializer)
	if i := slices.Index(serializerNames(h.srv.ep.sers), ser.Name()); i >= 0 {
		ser = h.srv.ep.sers[i]
	}
	serving := &mode{
		http: true, ser: ser, maxMessage: l.maxMessage, maxFrame: l.maxFrame, window: l.window, messages: l.messages,
		part: min(l.maxFrame, maxPart, flow.Part(l.window)),
		peer: PeerInfo{Agent: "HTTP", Serializer: ser.Name(), MaxMessage: l.maxMessage, MaxFrame: l.maxFrame, MaxCalls: 1},
	}
	calling := *serving
	calling.http, calling.ser = false, rawSerializer{}
	return [2]*mode{serving, &calling}
}

// errOneWay is what calls and messages to a client that calls by HTTP fail with.
func errOneWay() error {
	return localErr(BadRequest, NotSent, nil, "the client calls by HTTP, where a server can't call back: answer with items, or have it use another transport")
}

// byHTTP reports whether the connection is that of one call by HTTP.
func (c *Conn) byHTTP() bool {
	m := c.mode.Load()
	return m != nil && m.http
}

// callConn is the serving end of a call by HTTP.
type callConn struct {
	*transport.MemConn
	local, remote net.Addr
	header        http.Header
	tls           *tls.ConnectionState
}

// LocalAddr returns the address that the request came to.
func (c *callConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address that the request came from.
func (c *callConn) RemoteAddr() net.Addr { return c.remote }

// Header returns the request's header.
func (c *callConn) Header() http.Header { return c.header }

// secureCallConn is a callConn of a request that came by TLS.
type secureCallConn struct{ *callConn }

// ConnectionState returns the state of the TLS connection.
func (c secureCallConn) ConnectionState() tls.ConnectionState { return *c.tls }

// connect returns the calling end of a connection for one call by HTTP. The caller closes it.
func (h *web) connect(r *http.Request, identity any) (*Conn, error) {
	near, far := transport.Pipe(nil)
	cc := &callConn{MemConn: far, header: r.Header, tls: r.TLS}
	cc.local, cc.remote = addrsOf(r)
	var served net.Conn = cc
	if r.TLS != nil {
		served = secureCallConn{cc}
	}
	if h.srv.startAs(served, pass{free: true}, nil, h.modes[0], identity) == nil {
		near.Close()
		return nil, localErr(Unavailable, NotSent, ErrServerClosed, "the server is shutting down")
	}
	c := newConn(h.callers, near)
	c.settle(h.modes[1])
	c.proto.in.max = c.maxPayload()
	c.proto.in.parks = c
	c.startReading()
	return c, nil
}

// addrsOf returns the addresses of a request.
func addrsOf(r *http.Request) (local, remote net.Addr) {
	if c := webConnOf(r); c != nil {
		return c.LocalAddr(), c.RemoteAddr()
	}
	local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return local, net.TCPAddrFromAddrPort(ap)
	}
	return local, namedAddr(r.RemoteAddr)
}

// namedAddr is an address that net/http has as text.
type namedAddr string

func (a namedAddr) Network() string { return "http" }
func (a namedAddr) String() string  { return string(a) }

// identify has ServerOpts.Auth look at a request and returns the caller's identity, or why it isn't let in.
func (h *web) identify(r *http.Request) (id any, err error) {
	s := h.srv
	if s.opts.Auth == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.ep.limits.helloTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			s.ep.log.Error("flyrpc: Auth panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			id, err = nil, notProcessedErr(Errorf(Internal, "the credentials could not be checked"))
		}
	}()
	auth, err := authOf(r.Header)
	if err != nil {
		return nil, notProcessedErr(err.(*Error))
	}
	_, remote := addrsOf(r)
	id, err = s.opts.Auth(ctx, &Credentials{Auth: auth, Header: r.Header, RemoteAddr: remote, TLS: r.TLS})
	if err == nil {
		return id, nil
	}
	w := s.ep.errors.toWire(err)
	if w.code == Failed {
		w.code = Unauthenticated
	}
	return nil, notProcessedErr(&Error{Code: w.code, Message: w.message, Details: w.details})
}

// notProcessedErr returns err, marked as that of a request that no handler was given.
func notProcessedErr(err *Error) *Error { return err.WithDelivery(NotProcessed) }
