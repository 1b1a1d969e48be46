package flyrpc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// upgrade makes a connection of a request that asks for a WebSocket.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.opts.NoWebSocket:
		http.Error(w, "flyrpc: this server has WebSockets switched off (ServerOpts.NoWebSocket)", http.StatusNotImplemented)
		return
	case s.isStopping():
		http.Error(w, "flyrpc: the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Origins: s.opts.Origins, HandshakeTimeout: s.ep.limits.helloTimeout, Below: unwrapped,
	})
	if err != nil {
		s.refusals.warn(s.ep.log, "flyrpc: WebSocket refused", "peer", r.RemoteAddr, "reason", err.Error())
		return
	}
	wc := webConnOf(r)
	if wc == nil {
		s.accept(c, nil)
		return
	}
	p, over := wc.leave()
	if !s.startWeb(c, p, over) && over != nil {
		close(over)
	}
}

// unwrapped returns what a connection is made of that has nothing more to add.
func unwrapped(nc net.Conn) net.Conn {
	if c, ok := nc.(*webConn); ok {
		nc = c.Conn
	}
	if b, ok := nc.(*begunConn); ok && len(b.begun) == 0 {
		return b.Conn
	}
	return nc
}

// startWeb has a WebSocket served whose upgrade is done. It is start.
func (s *Server) startWeb(c *websocket.Conn, p pass, over chan struct{}) bool {
	c.SetTextLimit(s.maxCommand())
	return s.start(c, p, over, nil)
}

// webSocket returns the WebSocket that the connection is, or is made of, or nil.
func (c *Conn) webSocket() *websocket.Conn {
	for nc := c.proto.conn; nc != nil; {
		switch t := nc.(type) {
		case *websocket.Conn:
			return t
		case interface{ NetConn() net.Conn }:
			nc = t.NetConn()
		default:
			return nil
		}
	}
	return nil
}

// textual returns errForeign if the reader failed with err because the connection's first message is a text, which is a JSON command;
// else it returns err.
func (c *Conn) textual(err error) error {
	switch {
	case !errors.Is(err, websocket.ErrText):
		return err
	case c.srv == nil:
		return errors.New("flyrpc: the server sends texts: it is none of FlyRPC's, or speaks JSON commands")
	case c.srv.opts.NoCommands:
		return errNoTexts
	}
	return errForeign
}

// errNoTexts is how a connection ends whose client speaks JSON commands where they are switched off.
var errNoTexts = errors.New("flyrpc: the client sends texts, JSON commands, and ServerOpts.NoCommands is set")

// serveTexts serves a WebSocket whose first message is a text, and so a JSON command.
func (e *entrant) serveTexts(c *websocket.Conn) error {
	return e.srv.serveCommandsOver(c, e.pass, e.over, Credentials{Header: c.Header()}, e.leaveDoor)
}

// sayWhy has a WebSocket's close frame say why the connection ends.
func (c *Conn) sayWhy(reason error) {
	ws := c.webSocket()
	if ws == nil {
		return
	}
	var own *Error
	var system *net.OpError
	switch {
	case errors.Is(reason, ErrServerClosed):
		ws.SetClose(websocket.CloseGoingAway, "the server is shutting down")
	case reason == errNoTexts:
		ws.SetClose(websocket.CloseBadKind, "this server takes no texts: JSON commands are switched off")
	case orderly(reason), errors.Is(reason, websocket.ErrText):
	case errors.As(reason, &system):
		ws.SetClose(websocket.CloseProtocol, "")
	case errors.As(reason, &own):
		ws.SetClose(websocket.ClosePolicy, own.Message)
	default:
		ws.SetClose(websocket.CloseProtocol, reason.Error())
	}
}

// transports returns the client's own ways to dial.
func (o *ClientOpts) transports() []transport.Transport {
	timeout := o.limits().helloTimeout
	return []transport.Transport{
		transport.TLS{Config: o.TLS, HandshakeTimeout: timeout},
		websocket.Transport{TLS: o.TLS, Header: o.Header, HandshakeTimeout: timeout},
		httpTransport{o.TLS, o.limits(), loggerOr(o.Logger)},
	}
}

// upgradeCode returns the code of an error of dialling: what an HTTP server's answer says, or UNAVAILABLE.
func upgradeCode(err error) Code {
	var refused *websocket.UpgradeError
	if !errors.As(err, &refused) {
		return Unavailable
	}
	switch refused.Status {
	case http.StatusUnauthorized:
		return Unauthenticated
	case http.StatusForbidden:
		return Forbidden
	case http.StatusNotFound:
		return NotFound
	case http.StatusTooManyRequests:
		return Busy
	}
	return Unavailable
}

// webSocket returns the server's way to listen for WebSockets alone.
func (o *ServerOpts) webSocket() webListen {
	return webListen{
		Transport: websocket.Transport{TLS: o.TLS, Origins: o.Origins, HandshakeTimeout: o.limits().helloTimeout},
		off:       o.NoWebSocket, secure: o.TLS != nil && !o.AllowPlain,
	}
}

// webListen is websocket.Transport that keeps to the server's options.
type webListen struct {
	websocket.Transport
	off    bool
	secure bool
}

// Listen says which option is in the way, if one is.
func (t webListen) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	problem := ""
	switch {
	case t.off:
		problem = "ServerOpts.NoWebSocket is set"
	case addr.Scheme == "ws" && t.secure:
		problem = "ServerOpts.TLS is set: listen at wss://, or set AllowPlain"
	case addr.Scheme == "wss" && t.TLS == nil:
		problem = "listening with TLS needs ServerOpts.TLS, with a certificate"
	}
	if problem != "" {
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: problem}
	}
	return t.Transport.Listen(ctx, addr)
}
