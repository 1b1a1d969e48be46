package flyrpc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/transport"
)

// The schemes of HTTP.
const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
)

// httpTransport dials http:// and https:// addresses: behind the connection that it returns, inside the process, is a
// relay, which is served packets and makes HTTP requests of them.
type httpTransport struct {
	tls    *tls.Config
	limits limits
	log    *slog.Logger
}

// Schemes returns those of HTTP.
func (httpTransport) Schemes() []string { return []string{schemeHTTP, schemeHTTPS} }

// Listen fails: a server needs no address of its own for HTTP.
func (httpTransport) Listen(_ context.Context, addr *url.URL) (net.Listener, error) {
	return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "listen at a tcp or tls address: HTTP is served there too"}
}

// Dial returns a connection to a relay. It fails if the server can't be reached now.
func (t httpTransport) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	switch {
	case addr.Host == "":
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "it has no host; write http://example.com:7000/path"}
	case addr.User != nil:
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "takes no user or password: ClientOpts.Auth has what is shown to the server"}
	case addr.RawQuery != "" || addr.ForceQuery || addr.Fragment != "":
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "takes no query or fragment"}
	}
	r := t.newRelay(addr)
	if err := r.probe(ctx); err != nil {
		r.close()
		return nil, fmt.Errorf("flyrpc: %w", err)
	}
	near, far := transport.Pipe(nil)
	remote := namedAddr(addr.Host)
	go r.srv.ServeConn(&relayConn{MemConn: far, remote: remote})
	return &relayConn{MemConn: near, remote: remote, relay: r}, nil
}

// newRelay returns a relay to the server at addr.
func (t httpTransport) newRelay(addr *url.URL) *relay {
	l := t.limits
	r := &relay{base: *addr, most: l.maxMessage}
	r.http = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        t.tls.Clone(),
		TLSHandshakeTimeout:    l.helloTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxHTTPIdleConns,
		IdleConnTimeout:        httpIdle / 2, // before the server closes them
		ExpectContinueTimeout:  l.helloTimeout,
		MaxResponseHeaderBytes: maxHTTPHeader,
	}
	r.cli = &http.Client{Transport: r.http, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ser := []serializer.Serializer{rawSerializer{}}
	r.srv = NewServer(&ServerOpts{
		MaxMessage: l.maxMessage, MaxCalls: l.maxCalls, StreamWindow: l.window, MessageWindow: l.messages, WriteTimeout: l.writeTimeout,
		KeepaliveTime: -1, Serializers: ser, V1Serializer: ser[0], Logger: t.log, NoHTTP: true, NoCommands: true, AllowV1: true,
		Auth: func(_ context.Context, c *Credentials) (any, error) { return c.Auth, nil },
	})
	r.srv.NotFound(r.serve)
	return r
}

// maxHTTPIdleConns is how many connections without a request a client by HTTP keeps.
const maxHTTPIdleConns = 16

// relayConn is an end of the connection between a client and its relay.
type relayConn struct {
	*transport.MemConn
	remote net.Addr
	relay  *relay // at the client's end
}

// RemoteAddr returns the host of the address that was dialled.
func (c *relayConn) RemoteAddr() net.Addr { return c.remote }

// Close closes the connection, and at the client's end the relay.
func (c *relayConn) Close() error {
	err := c.MemConn.Close()
	if c.relay != nil {
		c.relay.close()
	}
	return err
}

// relays reports whether the connection is one between a client and its relay.
func (c *Conn) relays() bool {
	_, ok := c.proto.conn.(*relayConn)
	return ok
}

// relay makes HTTP requests of the packets of one connection.
type relay struct {
	base url.URL
	most int // bytes of an answer
	http *http.Transport
	cli  *http.Client
	srv  *Server
}

// close ends the relay and what it has open.
func (r *relay) close() {
	r.srv.Close()
	r.http.CloseIdleConnections()
}

// probe finds out whether the server can be reached. What it answers is of no matter: a call will tell.
func (r *relay) probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.url("/").String(), nil)
	if err != nil {
		return err
	}
	resp, err := r.cli.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// url returns the URL of a path.
func (r *relay) url(path string) *url.URL {
	u := r.base
	u.RawPath = ""
	for len(u.Path) > 0 && u.Path[len(u.Path)-1] == '/' {
		u.Path = u.Path[:len(u.Path)-1]
	}
	if len(path) == 0 || path[0] != '/' {
		path = "/" + path
	}
	u.Path += path
	return &u
}

// authHeader is what Auth of a client's hello is in HTTP.
const authHeader = "Fly-Auth"

// authOf returns the JSON object in the header of a request, or nil.
func authOf(h http.Header) (json.RawMessage, error) {
	text := h.Get(authHeader)
	if text == "" {
		return nil, nil
	}
	text = unescape(text)
	if text[0] != '{' || !json.Valid([]byte(text)) {
		return nil, Errorf(BadRequest, "the header %s is no JSON object", authHeader)
	}
	return json.RawMessage(text), nil
}
