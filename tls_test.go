package flyrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// Calls go both ways over TLS, by a listener of TCP and by one of TLS.
func TestTLSCalls(t *testing.T) {
	world := newTLSWorld(t)
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{TLS: world.server})
			large := strings.Repeat("large ", 1<<18)
			srv.OnMessage("/there", func(ctx *Context, s string) (string, error) {
				var back string
				err := ctx.Call("/back", s, &back)
				return back, err
			})
			addr := "tls://" + listenOn(t, srv, scheme+"://127.0.0.1:0")
			cli := NewClient(addr, quietOpts(&ClientOpts{TLS: world.client}))
			defer cli.Close()
			cli.OnMessage("/back", func(s string) string { return s + "!" })
			for _, s := range []string{"small", large} {
				if got, err := Call[string](t.Context(), cli, "/there", s); got != s+"!" || err != nil {
					t.Fatalf("%.20q, %v", got, err)
				}
			}
			if state := cli.Conn().TLS(); state == nil || state.PeerCertificates[0].Subject.CommonName != "srv" || len(state.VerifiedChains) == 0 {
				t.Errorf("the client sees %+v", state)
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// With mutual TLS the certificate is the client's identity.
func TestMutualTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		srv := quietServer(t, &ServerOpts{TLS: world.mutual(), Auth: func(_ context.Context, c *Credentials) (any, error) {
			if c.TLS == nil || len(c.TLS.VerifiedChains) == 0 {
				return nil, errors.New("no verified certificate")
			}
			if name := c.TLS.PeerCertificates[0].Subject.CommonName; name != "eve" {
				return name, nil
			}
			return nil, Forbidden
		}})
		srv.OnMessage("/who", func(ctx *Context) string {
			return ctx.Conn().Identity().(string) + "," + ctx.Conn().TLS().PeerCertificates[0].Subject.CommonName
		})
		cli := connectTLS(t, far(srv), world.named(t, "ada"), nil)
		if who, err := Call[string](context.Background(), cli, "/who", nil); who != "ada,ada" || err != nil {
			t.Errorf("%q, %v", who, err)
		}
		err := tlsClient(t, far(srv), world.named(t, "eve"), nil).Connect(context.Background())
		wantErr(t, err, Forbidden, NotProcessed)
	})
}

// A connection that is TLS already is agreed on before anything else, so that OnConnect sees the
// certificate.
func TestHandshakeBeforeOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		srv := quietServer(t, nil)
		names := make(chan string, 1)
		srv.OnConnect(func(ctx *Context) error {
			names <- ctx.Conn().TLS().PeerCertificates[0].Subject.CommonName
			return nil
		})
		near, conn := transport.Pipe(nil)
		go srv.ServeConn(tls.Server(conn, world.mutual()))
		secure := tls.Client(near, world.named(t, "ada"))
		defer secure.Close()
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		if name := within(t, names); name != "ada" { // it waits to be pushed to
			t.Errorf("OnConnect saw %q", name)
		}
	})
}

// Whose handshake fails learns why.
func TestTLSClientErrors(t *testing.T) {
	world, other := newTLSWorld(t), newTLSWorld(t)
	stranger := world.client.Clone()
	stranger.Certificates = other.named(t, "eve").Certificates
	old := world.client.Clone()
	old.MaxVersion = tls.VersionTLS12
	log, text := newLogText()
	srv := quietServer(t, &ServerOpts{TLS: world.mutual(), Logger: log})
	addr := listenOn(t, srv, "tcp://127.0.0.1:0")
	for _, c := range []struct {
		name, addr string
		cfg        *tls.Config
		code       Code
		says       []string
	}{
		{"wrong authority", "tls://" + addr, other.named(t, "x"), Unavailable, []string{"TLS handshake", "unknown authority", "RootCAs"}},
		{"no configuration", "tls://" + addr, nil, Unavailable, []string{"TLS handshake", "certificate"}},
		{"no certificate", "tls://" + addr, world.client, Unauthenticated, []string{"certificate required", "set ClientOpts.TLS.Certificates"}},
		{"no certificate, 1.2", "tls://" + addr, old, Unavailable, []string{"TLS handshake: remote error"}},
		{"unknown certificate", "tls://" + addr, stranger, Unauthenticated, []string{"the server refused the client's TLS handshake", "unknown certificate authority"}},
		{"plain", addr, world.client, BadRequest, []string{"ClientOpts.TLS is set", "write tls://" + addr}},
		{"plain URL", "tcp://" + addr, world.client, BadRequest, []string{"write tls://" + addr}},
		{"no TLS at all", addr, nil, BadRequest, []string{"this server speaks TLS: dial tls:// instead"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Dial(t.Context(), c.addr, quietOpts(&ClientOpts{TLS: c.cfg}))
			if !errors.Is(err, c.code) || Outcome(err) == Unknown {
				t.Errorf("error %v, outcome %v; want %s", err, Outcome(err), c.code)
			}
			for _, says := range c.says {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("the error %v doesn't say %q", err, says)
				}
			}
		})
	}
	wantText(t, text.String(), "connection refused")
}

// A server that takes connections and says nothing holds a client up for HelloTimeout.
func TestTLSServerSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Dial(context.Background(), "tls://"+l.Addr().String(), quietOpts(&ClientOpts{HelloTimeout: 20 * time.Millisecond}))
	wantErr(t, err, Unavailable, NotSent)
	wantText(t, err.Error(), "TLS handshake: the other end took longer than 20ms")
}

// What the options lack is said.
func TestTLSOptions(t *testing.T) {
	var wrong *transport.AddrError
	if err := quietServer(t, nil).Listen("tls://127.0.0.1:0"); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "ServerOpts.TLS") {
		t.Errorf("Listen returned %v", err)
	}
	func() {
		defer func() {
			if r, _ := recover().(string); !strings.Contains(r, "ServerOpts.TLS has no certificate: set Certificates") {
				t.Errorf("NewServer panicked with %q", r)
			}
		}()
		NewServer(&ServerOpts{TLS: new(tls.Config)})
	}()
	mine := transport.TLS{}
	given := []transport.Transport{transport.NewMem(), mine}
	if got := withOwn(given, serverTLS{}); len(got) != 2 || got[1] != mine {
		t.Errorf("a given transport for tls was not used: %v", got)
	}
}

// Unix sockets are built in and may be plain.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fly.sock")
	srv := quietServer(t, &ServerOpts{TLS: newTLSWorld(t).server})
	srv.OnMessage("/network", func(ctx *Context) string { return ctx.Conn().LocalAddr().Network() })
	listenOn(t, srv, "unix://"+path)
	cli, err := Dial(t.Context(), "ipc://"+path, quietOpts(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if network, err := Call[string](t.Context(), cli, "/network", nil); network != "unix" || err != nil {
		t.Errorf("%q, %v", network, err)
	}
	if _, ok := srv.Conns()[0].proto.conn.(*net.UnixConn); !ok {
		t.Errorf("the connection is a %T", srv.Conns()[0].proto.conn)
	}
}

// TestHandshakePanics: a panic in a function of ServerOpts.TLS, and the end of its goroutine, refuse that connection and nothing else.
func TestHandshakePanics(t *testing.T) {
	for name, f := range map[string]func(){"panic": func() { panic("at the disco") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newTLSWorld(t)
				cfg := world.server.Clone()
				cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
					if h.ServerName == "bad" {
						f()
					}
					return nil, nil
				}
				log, text := newLogText()
				lost := make(chan error, 9)
				srv := quietServer(t, &ServerOpts{TLS: cfg, Logger: log, OnLostConn: func(_ net.Addr, err error) { lost <- err }})
				bad := world.client.Clone()
				bad.ServerName = "bad"
				if err := tlsClient(t, far(srv), bad, nil).Connect(t.Context()); err == nil {
					t.Error("it is connected")
				}
				wantText(t, (<-lost).Error(), "the handshake panicked")
				if name == "panic" {
					wantText(t, text.String(), "level=ERROR", "at the disco", "readClientHello")
				}
				connectTLS(t, far(srv), world.client, nil)
				synctest.Wait() // the client may be served before the door is closed behind it
				srv.mu.Lock()
				defer srv.mu.Unlock()
				if n := srv.admission.n; n != 1 || len(srv.entrants) > 0 {
					t.Errorf("%d connections are counted, %d are at the door", n, len(srv.entrants))
				}
			})
		})
	}
}
