package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tlsTable(t *testing.T, cfg *tls.Config) *transport.Table {
	t.Helper()
	table, err := transport.NewTable(transport.TLS{Config: cfg})
	must(t, err)
	return table
}

// shake accepts a connection and performs its handshake.
func shake(l net.Listener) <-chan error {
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			if err = c.(*transport.TLSConn).Handshake(); err == nil {
				_, err = io.Copy(io.Discard, c)
			}
		}
		done <- err
	}()
	return done
}

// An Accept never waits for what a client doesn't send.
func TestTLSAcceptDoesNotWait(t *testing.T) {
	authority := transporttest.NewAuthority(t)
	table := tlsTable(t, &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "srv")}, RootCAs: authority.Pool()})
	l, err := table.Listen(t.Context(), "tls://localhost:0")
	must(t, err)
	defer l.Close()
	silent, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer silent.Close()
	waiting, err := l.Accept()
	must(t, err)
	defer waiting.Close()
	served := shake(l)
	c, err := table.Dial(t.Context(), "tls://"+l.Addr().String())
	must(t, err)
	if state := c.(*transport.TLSConn).ConnectionState(); state.PeerCertificates[0].Subject.CommonName != "srv" {
		t.Errorf("the server's certificate is that of %v", state.PeerCertificates[0].Subject)
	}
	must(t, c.Close())
	must(t, <-served)
}

// A host's name is what the certificate has to be for.
func TestTLSServerName(t *testing.T) {
	authority := transporttest.NewAuthority(t)
	names := make(chan string, 1)
	table := tlsTable(t, &tls.Config{
		RootCAs: authority.Pool(),
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			names <- h.ServerName
			c := authority.Certificate(t, "srv")
			return &c, nil
		},
	})
	l, err := table.Listen(t.Context(), "tls://:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	for host, want := range map[string]string{"localhost": "localhost", "": "localhost", "127.0.0.1": ""} {
		served := shake(l)
		c, err := table.Dial(t.Context(), "tls://"+host+":"+port)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		must(t, c.Close())
		must(t, <-served)
		if name := <-names; name != want {
			t.Errorf("dialling %q the name was %q, want %q", host, name, want)
		}
	}
}

func TestTLSDialErrors(t *testing.T) {
	authority, other := transporttest.NewAuthority(t), transporttest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "srv")}}
	l, err := tlsTable(t, server).Listen(t.Context(), "tls://127.0.0.1:0")
	must(t, err)
	defer l.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer plain.Close()
	for _, c := range []struct {
		name   string
		l      net.Listener
		server func(net.Conn)
		cfg    *tls.Config
		says   []string
	}{
		{
			"wrong authority", l, func(c net.Conn) { _ = c.(*transport.TLSConn).Handshake() }, &tls.Config{RootCAs: other.Pool()},
			[]string{"TLS handshake: ", "unknown authority", "put that into Config.RootCAs", l.Addr().String()},
		},
		{"no configuration", l, func(c net.Conn) { _ = c.(*transport.TLSConn).Handshake() }, nil, []string{"TLS handshake: ", "Config.RootCAs"}},
		{
			"wrong name", l, func(c net.Conn) { _ = c.(*transport.TLSConn).Handshake() }, &tls.Config{RootCAs: authority.Pool(), ServerName: "other"},
			[]string{"valid for srv, localhost, not other"},
		},
		{
			"no TLS", plain, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request") }, nil,
			[]string{"does not look like a TLS handshake; does the other end speak TLS?"},
		},
		{"closes", plain, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }, nil, []string{"the other end closed the connection; does it speak TLS?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			served := make(chan struct{})
			go func() {
				defer close(served)
				if nc, err := c.l.Accept(); err == nil {
					c.server(nc)
					nc.Close()
				}
			}()
			_, err := tlsTable(t, c.cfg).Dial(t.Context(), "tls://"+c.l.Addr().String())
			for _, says := range c.says {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("the error %v doesn't say %q", err, says)
				}
			}
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("%v is no *net.OpError of a dial", err)
			}
			<-served
		})
	}
}

// A server that says nothing holds Dial up until its context ends.
func TestTLSDialContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = tlsTable(t, nil).Dial(ctx, "tls://"+l.Addr().String())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v", err)
	}
}

// Without a deadline Dial has a bound too.
func TestTLSHandshakeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	table, err := transport.NewTable(transport.TLS{HandshakeTimeout: 10 * time.Millisecond})
	must(t, err)
	_, err = table.Dial(context.Background(), "tls://"+l.Addr().String())
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "TLS handshake: the other end took longer than 10ms") {
		t.Errorf("dial: %v", err)
	}
}

func TestTLSListenNeedsCertificate(t *testing.T) {
	for _, cfg := range []*tls.Config{nil, {}} {
		_, err := tlsTable(t, cfg).Listen(t.Context(), "tls://localhost:0")
		var wrong *transport.AddrError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "needs a certificate: set Config.Certificates") {
			t.Errorf("listen: %v", err)
		}
	}
	for _, cfg := range []*tls.Config{
		{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }},
		{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }},
	} {
		l, err := tlsTable(t, cfg).Listen(t.Context(), "tls://localhost:0")
		must(t, err)
		must(t, l.Close())
		_, err = l.Accept()
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
	}
}

// tlsPipe makes a TLS connection inside the process whose ends have shaken hands.
func tlsPipe(t *testing.T, buffer int) (cli *tls.Conn, srv *transport.TLSConn) {
	t.Helper()
	authority := transporttest.NewAuthority(t)
	near, far := transport.Pipe(&transport.PipeOptions{Buffer: buffer})
	srv = transport.TLSServer(far, &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "srv")}})
	cli = tls.Client(near, &tls.Config{RootCAs: authority.Pool(), ServerName: "srv"})
	done := make(chan error, 1)
	go func() { done <- srv.Handshake() }()
	must(t, cli.Handshake())
	must(t, <-done)
	t.Cleanup(func() { near.Close(); far.Close() })
	return cli, srv
}

// A peer that doesn't read can't hold up Close and CloseWrite.
func TestTLSCloseIsBounded(t *testing.T) {
	for name, end := range map[string]func(*transport.TLSConn) error{"Close": (*transport.TLSConn).Close, "CloseWrite": (*transport.TLSConn).CloseWrite} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, srv := tlsPipe(t, 1<<16)
				raw := srv.NetConn().(*transport.MemConn)
				for n := 1; n > 0; { // no room is left for what ends the connection
					var err error
					n, err = raw.TryWrite(make([]byte, 1000))
					must(t, err)
				}
				begun := time.Now()
				if err := end(srv); err == nil {
					t.Error("ending succeeded")
				}
				if took := time.Since(begun); took != time.Second {
					t.Errorf("ending took %v", took)
				}
				if _, err := srv.Write([]byte("x")); err == nil {
					t.Error("a Write succeeded")
				}
			})
		})
	}
}
