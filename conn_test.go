package flyrpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		srv := quietServer(t, nil)
		srv.OnConnect(func(ctx *Context) error {
			ctx.Conn().SetValue(key{}, "room 1")
			ctx.Conn().SetValue("n", ctx.Conn().ID())
			return nil
		})
		srv.OnMessage("/room", func(ctx *Context) string {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			if ctx.Value("nothing") != nil || ctx.Conn().Value("n") != ctx.Conn().ID() {
				return "wrong"
			}
			return derived.Value(key{}).(string)
		})
		srv.OnMessage("/move", func(ctx *Context, to string) { ctx.Conn().SetValue(key{}, to) })
		a, b := connectPipe(t, srv, nil), connectPipe(t, srv, nil)
		if err := a.Call(context.Background(), "/move", "room 2", nil); err != nil {
			t.Fatal(err)
		}
		for cli, want := range map[*Client]string{a: "room 2", b: "room 1"} {
			if got, err := Call[string](context.Background(), cli, "/room", nil); got != want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
	})
}

func TestConnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		cli := connectPipe(t, srv, nil)
		synctest.Wait()
		c, s := cli.Conn(), srv.Conns()[0]
		if c.Err() != nil || s.Err() != nil {
			t.Fatalf("alive: %v, %v", c.Err(), s.Err())
		}
		if c.ID() == 0 || s.ID() == 0 || c.RemoteAddr().String() != s.LocalAddr().String() || c.TLS() != nil {
			t.Errorf("IDs %d and %d, addresses %v and %v", c.ID(), s.ID(), c.RemoteAddr(), s.LocalAddr())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		within(t, c.Done())
		within(t, s.Done())
		if !errors.Is(c.Err(), net.ErrClosed) || s.Err() != io.EOF {
			t.Errorf("the ends are %v and %v", c.Err(), s.Err())
		}
		for _, conn := range []*Conn{c, s} {
			wantErr(t, conn.Call(context.Background(), "/x", nil, nil), Unavailable, NotSent)
			wantErr(t, conn.SendMessage(context.Background(), "/x", nil), Unavailable, NotSent)
			wantErr(t, conn.Go(context.Background(), "/x", nil, nil).Err(), Unavailable, NotSent)
			_, err := conn.Ping(1, 0)
			wantErr(t, err, Unavailable, NotSent)
			_, err = conn.SendRequest(context.Background(), "/x", nil)
			wantErr(t, err, Unavailable, NotSent)
			if err := conn.SendPacket(&Packet{Code: "/x"}); err == nil {
				t.Error("SendPacket on a closed connection")
			}
		}
		synctest.Wait()
		if n := len(srv.Conns()); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

// Closing at once ends the calls of both directions with UNAVAILABLE.
func TestConnCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(ctx *Context) error { <-ctx.Done(); return context.Cause(ctx) }
		srv := quietServer(t, nil)
		srv.OnMessage("/wait", wait)
		cli := connectPipe(t, srv, nil)
		cli.OnMessage("/wait", wait)
		synctest.Wait()
		there := cli.Go(context.Background(), "/wait", nil, nil)
		back := srv.Conns()[0].Go(context.Background(), "/wait", nil, nil)
		synctest.Wait()
		cli.Conn().Close()
		wantErr(t, there.Err(), Unavailable, Unknown)
		wantErr(t, back.Err(), Unavailable, Unknown)
	})
}

// The reason of a connection that is cut is kept, logged and told to OnDisconnect.
func TestConnCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Logger: log})
		reasons := make(chan error, 2)
		srv.OnDisconnect(func(ctx *Context, err error) {
			if ctx.Err() == nil || ctx.Path() != "" {
				t.Error("the Context of OnDisconnect is alive")
			}
			reasons <- err
		})
		end := servePipe(srv)
		cli := NewClientConn(end, quietOpts(nil))
		defer cli.Close()
		if err := cli.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		end.Reset()
		if err := within(t, reasons); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("OnDisconnect got %v", err)
		}
		within(t, cli.Conn().Done())
		if err := cli.Conn().Err(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Err is %v", err)
		}
		wantText(t, text.String(), "level=WARN", "connection reset")
	})
}

// A connection of this package's client and server inside TLS.
func TestConnTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	seen := make(chan *Credentials, 1)
	srv := quietServer(t, &ServerOpts{Auth: func(_ context.Context, c *Credentials) (any, error) { seen <- c; return nil, nil }})
	srv.OnMessage("/version", func(ctx *Context) uint16 { return ctx.Conn().TLS().Version })
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cli, err := Dial(ctx, l.Addr().String(), quietOpts(&ClientOpts{DialFunc: func(ctx context.Context, addr string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "localhost"}}
		return d.DialContext(ctx, "tcp", addr)
	}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	version, err := Call[uint16](ctx, cli, "/version", nil)
	if err != nil || version != tls.VersionTLS13 {
		t.Errorf("version %#x, %v", version, err)
	}
	if c := within(t, seen); c.TLS == nil || !c.TLS.HandshakeComplete {
		t.Errorf("Auth saw the TLS state %v", c.TLS)
	}
	if state := cli.Conn().TLS(); state == nil || len(state.PeerCertificates) != 1 {
		t.Errorf("the client's TLS state is %+v", state)
	}
	big := strings.Repeat("x", 1<<20) // more than a record
	srv.OnMessage("/big", func() string { return big })
	if got, err := Call[string](ctx, cli, "/big", nil); err != nil || got != big {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := within(t, served); err != ErrServerClosed {
		t.Error(err)
	}
}

// selfSigned returns a certificate for localhost and the pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
