package flyrpc

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

// tlsWorld has the certificates of one test.
type tlsWorld struct {
	authority *transporttest.Authority
	server    *tls.Config // accepts anybody
	client    *tls.Config // shows no certificate
}

func newTLSWorld(t testing.TB) *tlsWorld {
	t.Helper()
	a := transporttest.NewAuthority(t)
	return &tlsWorld{
		authority: a,
		server:    &tls.Config{Certificates: []tls.Certificate{a.Certificate(t, "srv")}},
		client:    &tls.Config{RootCAs: a.Pool(), ServerName: "srv"},
	}
}

// mutual returns the server's configuration that demands a certificate.
func (w *tlsWorld) mutual() *tls.Config {
	cfg := w.server.Clone()
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, w.authority.Pool()
	return cfg
}

// named returns the client's configuration that shows a certificate with that name.
func (w *tlsWorld) named(t testing.TB, name string) *tls.Config {
	cfg := w.client.Clone()
	cfg.Certificates = []tls.Certificate{w.authority.Certificate(t, name)}
	return cfg
}

// farConn is a connection inside the process that looks like one from elsewhere.
type farConn struct{ *transport.MemConn }

func (farConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7000} }

// far has srv serve one end of a pipe, as one from elsewhere, and returns the other.
func far(srv *Server) *transport.MemConn {
	near, far := transport.Pipe(nil)
	go srv.ServeConn(farConn{far})
	return near
}

// tlsClient returns a Client over TLS over nc, not yet connected, that the test closes. Its handshake comes
// with hello.
func tlsClient(t testing.TB, nc net.Conn, cfg *tls.Config, opts *ClientOpts) *Client {
	cli := NewClientConn(tls.Client(nc, cfg), quietOpts(opts))
	t.Cleanup(func() { cli.Close() })
	return cli
}

// connectTLS is tlsClient, connected.
func connectTLS(t testing.TB, nc net.Conn, cfg *tls.Config, opts *ClientOpts) *Client {
	t.Helper()
	cli := tlsClient(t, nc, cfg, opts)
	if err := cli.Connect(context.Background()); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return cli
}

// listenOn has srv listen at addr, which the system chooses the port of, and returns host and port.
func listenOn(t testing.TB, srv *Server, addr string) string {
	t.Helper()
	l, err := srv.transports.Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}
