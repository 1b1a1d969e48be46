package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

const (
	schemeWS  = "ws"
	schemeWSS = "wss"
)

// Transport is the Transport for "ws://host:port/path" and, with TLS, "wss://host:port/path". Without a port it is 80 or 443. The
// zero value is ready for all but listening at wss. Its connections are *Conn.
type Transport struct {
	// TLS is used for wss by Dial and Listen, and not changed. nil means what it does for
	// transport.TLS.
	TLS *tls.Config
	// Header is sent by Dial with the request: cookies, an Authorization, an Origin. Listen sends it with its answers.
	Header http.Header
	// Origins are the sites whose pages Listen lets in, as in AcceptOptions.
	Origins []string
	// HandshakeTimeout bounds the TLS handshake and the upgrade, each. 0 or less means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// ReadLimit is the most bytes of a message that is accepted. 0 or less means DefaultReadLimit.
	ReadLimit int
}

var _ transport.Transport = Transport{}

// Schemes returns "ws" and "wss".
func (Transport) Schemes() []string { return []string{schemeWS, schemeWSS} }

// Dial connects to addr's host and port; without a host, to the local system. It asks for addr's path and query, with Header. A
// server that doesn't agree gives an *UpgradeError. Redirects aren't followed, and no proxy is used: see Upgrade.
func (t Transport) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	u, below, err := parse(addr)
	if err != nil {
		return nil, err
	}
	var nc net.Conn
	if u.Scheme == schemeWSS {
		nc, err = transport.TLS{Config: http1(t.TLS), HandshakeTimeout: t.HandshakeTimeout}.Dial(ctx, below)
	} else {
		nc, err = transport.TCP{}.Dial(ctx, below)
	}
	if err != nil {
		return nil, err
	}
	c, err := t.Upgrade(ctx, nc, u)
	if err != nil { // not a nil *Conn
		return nil, err
	}
	return c, nil
}

// http1 returns a configuration that doesn't speak of other protocols than HTTP/1.
func http1(cfg *tls.Config) *tls.Config {
	if cfg == nil || len(cfg.NextProtos) == 0 {
		return cfg
	}
	cfg = cfg.Clone()
	cfg.NextProtos = nil
	return cfg
}

// Listen listens at addr's host and port for requests of addr's path, and no other; without a path, of "/". wss needs a
// certificate in TLS. Accept returns connections whose upgrade is done. What asks for something else is answered by HTTP.
//
// At most 128 connections are upgraded and wait for Accept; more are refused with status 503.
func (t Transport) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	u, below, err := parse(addr)
	switch {
	case err != nil:
		return nil, err
	case u.RawQuery != "":
		return nil, &transport.AddrError{Addr: addr.Redacted(), Problem: "listening takes no query: write a path alone"}
	}
	var l net.Listener
	if u.Scheme == schemeWSS {
		l, err = transport.TLS{Config: http1(t.TLS)}.Listen(ctx, below)
	} else {
		l, err = transport.TCP{}.Listen(ctx, below)
	}
	if err != nil {
		return nil, err
	}
	return t.serve(l, u.Path), nil
}

// parse checks an address. It returns it with a host, a port and a path, and the address of the
// connection below.
func parse(addr *url.URL) (u, below *url.URL, err error) {
	problem := ""
	port, scheme := "80", "tcp"
	if addr.Scheme == schemeWSS {
		port, scheme = "443", "tls"
	}
	switch {
	case addr.User != nil:
		problem = "it takes no user or password: put an Authorization into the Header"
	case addr.Fragment != "":
		problem = "it takes no fragment"
	case addr.Opaque != "":
		problem = "it needs a host, as in ws://localhost:7000/path"
	}
	if problem != "" {
		return nil, nil, &transport.AddrError{Addr: addr.Redacted(), Problem: problem}
	}
	if addr.Port() != "" {
		port = addr.Port()
	}
	below = &url.URL{Scheme: scheme, Host: net.JoinHostPort(addr.Hostname(), port)}
	copied := *addr
	u = &copied
	if u.Hostname() == "" {
		u.Host = net.JoinHostPort("localhost", port)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, below, nil
}
