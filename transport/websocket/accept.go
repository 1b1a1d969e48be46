package websocket

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/go-flyrpc/flyrpc/transport"
)

// DefaultHandshakeTimeout is how long an upgrade may take, unless the options say otherwise.
const DefaultHandshakeTimeout = 10 * time.Second

// AcceptOptions are the options of Accept. The zero value is the default.
type AcceptOptions struct {
	// Origins are the other sites whose pages may connect, as browsers name them in the Origin header:
	// https://example.com, with the port where it isn't the scheme's own. AnyOrigin stands for all. Default: only pages of the server itself.
	Origins []string
	// Header is added to the answer: Set-Cookie, say.
	Header http.Header
	// ReadLimit is the most bytes of a message. 0 or less means DefaultReadLimit.
	ReadLimit int
	// HandshakeTimeout bounds the writing of the answer. 0 or less means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Below returns what the Conn uses instead of the connection that the HTTP server has: one that it is only a view
	// of, say. Default: that connection.
	Below func(net.Conn) net.Conn
}

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool { return gorilla.IsWebSocketUpgrade(r) }

// Accept makes a WebSocket of a request, whose handler may return then: the connection isn't the HTTP server's
// any more. opts may be nil.
//
// With an error the request was answered: with 403 and the reason if its origin isn't allowed, with 400 or 405 if it asks for no WebSocket as RFC
// 6455 wants it, and with 500 if the server's connection can't be taken over, as that of HTTP/2 can't.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	var o AcceptOptions
	if opts != nil {
		o = *opts
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if IsUpgrade(r) {
		if err := CheckOrigin(r, o.Origins); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return nil, err
		}
	}
	var refusal error
	upgrader := gorilla.Upgrader{
		HandshakeTimeout: o.HandshakeTimeout,
		ReadBufferSize:   maxControl + maxHead, // nothing is read through it
		WriteBufferPool:  noPool{},             // nor written
		CheckOrigin:      func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refusal = reason
			w.Header().Set("Sec-Websocket-Version", "13")
			http.Error(w, reason.Error(), status)
		},
	}
	up, err := upgrader.Upgrade(w, r, o.Header)
	switch {
	case refusal != nil:
		return nil, refusal
	case err != nil:
		return nil, fmt.Errorf("websocket: upgrading the request of %s: %w", r.RemoteAddr, err)
	}
	return newConn(below(up.NetConn(), o.Below), false, r.Header, o.ReadLimit, nil), nil
}

// below returns the connection that a WebSocket uses.
func below(nc net.Conn, choose func(net.Conn) net.Conn) net.Conn {
	if choose != nil {
		nc = choose(nc)
	}
	if t, ok := nc.(*tls.Conn); ok {
		return &transport.TLSConn{Conn: t} // whose Close doesn't wait long
	}
	return nc
}

// noPool is a pool of buffers that is always empty.
type noPool struct{}

func (noPool) Get() any { return nil }
func (noPool) Put(any)  {}

// errExtension is why an upgrade to which a server agreed isn't used.
var errExtension = errors.New("websocket: the server agreed on an extension or a subprotocol that nobody asked for")

// unasked reports whether the answer to an upgrade has more than was asked for with header.
func unasked(header http.Header, answer http.Header) bool {
	if len(answer.Values("Sec-Websocket-Extensions")) > 0 {
		return true
	}
	chosen := answer.Get("Sec-Websocket-Protocol")
	return chosen != "" && !slices.Contains(gorilla.Subprotocols(&http.Request{Header: header}), chosen)
}
