package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type userIdentity struct{ Name string }

type tokenAuth struct {
	Token string `json:"token"`
}

// checkToken is an Auth that knows one token.
func checkToken(_ context.Context, c *Credentials) (any, error) {
	var a tokenAuth
	if err := c.Decode(&a); err != nil {
		return nil, err
	}
	switch a.Token {
	case "s3cret":
		return &userIdentity{"ada"}, nil
	case "banned":
		return nil, Errorf(Forbidden, "you are banned")
	}
	return nil, errors.New("no such token")
}

func TestAuthIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Pointer[Credentials]
		srv := quietServer(t, &ServerOpts{Info: "srv", Auth: func(ctx context.Context, c *Credentials) (any, error) {
			seen.Store(c)
			return checkToken(ctx, c)
		}})
		onConnect := make(chan any, 1)
		srv.OnConnect(func(ctx *Context) error { onConnect <- ctx.Conn().Identity(); return nil })
		srv.OnMessage("/whoami", func(ctx *Context) (string, error) {
			// metadata says something else, and isn't believed
			return ctx.Conn().Identity().(*userIdentity).Name + " " + ctx.Meta().Get("identity"), nil
		})
		cli := connectPipe(t, srv, &ClientOpts{Auth: tokenAuth{"s3cret"}, Info: "cli"})
		var who string
		err := cli.Call(WithMeta(context.Background(), "identity", "eve"), "/whoami", nil, &who)
		if err != nil || who != "ada eve" {
			t.Errorf("got %q, %v", who, err)
		}
		if id := within(t, onConnect); id.(*userIdentity).Name != "ada" {
			t.Errorf("OnConnect saw %v", id)
		}
		c := seen.Load()
		if string(c.Auth) != `{"token":"s3cret"}` || c.Version != 2 || c.RemoteAddr == nil || c.TLS != nil {
			t.Errorf("the credentials were %+v", c)
		}
		if got := string(cli.Conn().PeerInfo().Info); got != `"srv"` {
			t.Errorf("the client sees the info %s", got)
		}
		if got := string(srv.Conns()[0].PeerInfo().Info); got != `"cli"` {
			t.Errorf("the server sees the info %s", got)
		}
		if cli.Conn().Identity() != nil {
			t.Error("the client has an identity for the server")
		}
	})
}

func TestAuthRefuses(t *testing.T) {
	errDB := errors.New("database is down")
	tests := []struct {
		auth    any
		code    Code
		message string
	}{
		{nil, Unauthenticated, "ClientOpts.Auth"},
		{(*tokenAuth)(nil), Unauthenticated, "ClientOpts.Auth"},
		{tokenAuth{"wrong"}, Unauthenticated, "no such token"},
		{tokenAuth{"banned"}, Forbidden, "you are banned"},
		{map[string]int{"token": 5}, Unauthenticated, "credentials"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.auth), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{Auth: checkToken})
				cli := pipeClient(t, srv, &ClientOpts{Auth: tt.auth})
				err := cli.Connect(context.Background())
				wantErr(t, err, tt.code, NotProcessed)
				wantText(t, err.Error(), tt.message)
				var e *Error
				if !errors.As(err, &e) || !e.Remote() {
					t.Errorf("%v is not the server's", err)
				}
			})
		})
	}
	t.Run("own errors", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := map[Code]error{"DB": errDB}
			srv := quietServer(t, &ServerOpts{Errors: table, Auth: func(context.Context, *Credentials) (any, error) {
				return nil, fmt.Errorf("auth: %w", errDB)
			}})
			err := pipeClient(t, srv, &ClientOpts{Errors: table}).Connect(context.Background())
			wantErr(t, err, "DB", NotProcessed)
			if !errors.Is(err, errDB) {
				t.Errorf("%v is not the program's own error", err)
			}
		})
	})
}

// Before authentication nothing of the program runs, whatever comes.
func TestAuthFirst(t *testing.T) {
	packets := map[string]Packet{
		"v1 request":   {Flag: FlagWait, Sequence: 1, Code: "/touch"},
		"v1 message":   {Code: "/touch"},
		"unknown path": {Flag: FlagWait, Sequence: 1, Code: "/other"},
		"ping":         {Flag: FlagWait, Sequence: 1, Code: "fly.ping"},
		"response":     {Flag: FlagResponse, Sequence: 1},
		"bad hello":    {Flag: FlagWait, Sequence: 1, Code: "fly.hello", Payload: []byte(`{"flyrpc":2,"serializers":["json"],"auth":{"token":"x"}}`)},
		"half hello":   {Flag: FlagWait, Sequence: 1, Code: "fly.hello", Payload: []byte(`{"flyrpc":2`)},
	}
	for name, p := range packets {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ran atomic.Int32
				srv := quietServer(t, &ServerOpts{Auth: checkToken})
				srv.Use(func(next Handler) Handler {
					return func(ctx *Context) (any, error) { ran.Add(1); return next(ctx) }
				})
				srv.OnMessage("/touch", func() { ran.Add(1) })
				srv.NotFound(func() { ran.Add(1) })
				srv.OnConnect(func(*Context) error { ran.Add(1); return nil })
				srv.OnDisconnect(func(*Context, error) { ran.Add(1) })
				w := wireTo(t, srv)
				time.Sleep(time.Second) // more than OnConnect waits for without Auth
				w.send(p)
				_, _ = w.conn.Write([]byte("\x40\x00\x02/touch\x00\x00")) // it may be refused already
				for {
					p, err := w.next()
					if err != nil {
						break
					}
					if p.Code == "" {
						t.Errorf("got the answer %+v", p)
					}
				}
				if n := ran.Load(); n != 0 || len(srv.Conns()) != 0 {
					t.Errorf("%d functions ran, %d connections are open", n, len(srv.Conns()))
				}
			})
		})
	}
}

func TestAuthV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Auth: checkToken})
		w := wireTo(t, srv)
		w.request(7, "/x", "")
		w.wantAnswer(7, Unauthenticated, "version 1")
		w.wantEnd()

		versions := make(chan int, 1)
		srv = quietServer(t, &ServerOpts{AllowV1: true, Auth: func(_ context.Context, c *Credentials) (any, error) {
			versions <- c.Version
			if len(c.Auth) > 0 || c.Decode(new(tokenAuth)) == nil {
				return nil, Forbidden
			}
			return "guest", nil
		}})
		srv.OnMessage("/id", func(ctx *Context) string { return ctx.Conn().Identity().(string) })
		w = wireTo(t, srv)
		w.request(7, "/id", "")
		w.wantAnswer(7, "", "guest")
		if v := within(t, versions); v != 1 {
			t.Errorf("version %d", v)
		}
	})
}

// Whoever says nothing, or not enough, is cut at HelloTimeout.
func TestAuthSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Auth: checkToken, HelloTimeout: time.Second, Logger: log})
		begin := time.Now()
		wireTo(t, srv).wantEnd()
		w := wireTo(t, srv)
		w.write([]byte{0x40})
		w.wantEnd()
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("cut after %v together", d)
		}
		wantText(t, text.String(), "first packet")
	})
}

func TestAuthSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{HelloTimeout: time.Second, Auth: func(ctx context.Context, _ *Credentials) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		begin := time.Now()
		err := pipeClient(t, srv, nil).Connect(context.Background())
		wantErr(t, err, Timeout, NotProcessed)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("the server's deadline counts as the client's")
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("it took %v", d)
		}

		// its context ends with the connection
		ended := make(chan time.Duration, 1)
		srv = quietServer(t, &ServerOpts{HelloTimeout: time.Hour, Auth: func(ctx context.Context, _ *Credentials) (any, error) {
			begin := time.Now()
			<-ctx.Done()
			ended <- time.Since(begin)
			return nil, ctx.Err()
		}})
		w := wireTo(t, srv)
		w.request(1, "fly.hello", plainHello)
		synctest.Wait()
		srv.Close()
		if d := within(t, ended); d != 0 {
			t.Errorf("its context ended %v after the connection", d)
		}
	})
}

// A panic in Auth refuses the client, and its text stays here.
func TestAuthPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Logger: log, Auth: func(context.Context, *Credentials) (any, error) { panic("s3cret thing") }})
		err := pipeClient(t, srv, nil).Connect(context.Background())
		wantErr(t, err, Internal, NotProcessed)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the client was told %v", err)
		}
		wantText(t, text.String(), "s3cret thing", "level=ERROR", "auth_test.go")
	})
}

// What the client shows is made anew for each connection, or is wrong before it dials.
func TestAuthOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Auth: checkToken})
		n := 0
		errNoToken := errors.New("no token at hand")
		auth := func(context.Context) (any, error) {
			n++
			return tokenAuth{"s3cret"}, nil
		}
		connectPipe(t, srv, &ClientOpts{Auth: auth})
		connectPipe(t, srv, &ClientOpts{Auth: auth})
		if n != 2 {
			t.Errorf("called %d times for 2 connections", n)
		}

		err := pipeClient(t, srv, &ClientOpts{Auth: func(context.Context) (any, error) { return nil, errNoToken }}).Connect(context.Background())
		wantErr(t, err, Unauthenticated, NotSent)
		if !errors.Is(err, errNoToken) {
			t.Error(err)
		}

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = pipeClient(t, srv, &ClientOpts{Auth: func(ctx context.Context) (any, error) { <-ctx.Done(); return nil, ctx.Err() }}).Connect(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}

		for _, bad := range []any{func() {}, "text", []int{1}, 5} {
			err := pipeClient(t, srv, &ClientOpts{Auth: bad}).Connect(context.Background())
			wantErr(t, err, BadRequest, NotSent)
			wantText(t, err.Error(), "ClientOpts.Auth")
		}
	})
}

func TestCheckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Info: map[string]string{"name": "prod"}})
		errWrong := errors.New("not the server I want")
		check := func(want string) func(PeerInfo) error {
			return func(p PeerInfo) error {
				var info struct{ Name string }
				if err := json.Unmarshal(p.Info, &info); err != nil || info.Name != want {
					return errWrong
				}
				return nil
			}
		}
		connectPipe(t, srv, &ClientOpts{CheckPeer: check("prod")})
		cli := pipeClient(t, srv, &ClientOpts{CheckPeer: check("test")})
		err := cli.Connect(context.Background())
		wantErr(t, err, Failed, NotSent)
		if !errors.Is(err, errWrong) || cli.Conn() != nil {
			t.Errorf("%v, %v", err, cli.Conn())
		}
		err = pipeClient(t, srv, &ClientOpts{CheckPeer: func(PeerInfo) error { return Forbidden }}).Connect(context.Background())
		wantErr(t, err, Forbidden, NotSent)

		// version 1 is no way around it
		for _, opts := range []*ClientOpts{{NoHello: true, CheckPeer: check("prod")}, {CheckPeer: check("prod")}} {
			_, err := connectTo(t, opts, func(w *wireEnd, p Packet) { respond(w, p, "NOT_FOUND", "") })
			if !errors.Is(err, errWrong) {
				t.Errorf("a version 1 server: %v", err)
			}
		}
	})
}
