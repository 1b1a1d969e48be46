package flyrpc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// connectTo has a client connect to a server that reads hello and then does answer.
func connectTo(t *testing.T, opts *ClientOpts, answer func(w *wireEnd, hello Packet)) (*Client, error) {
	t.Helper()
	cli, w := clientWire(t, opts)
	go func() {
		if p, err := w.next(); err == nil {
			answer(w, p)
		}
	}()
	return cli, cli.Connect(context.Background())
}

func respond(w *wireEnd, p Packet, code, payload string) {
	b, _ := AppendPacket(nil, &Packet{Flag: FlagResponse, Sequence: p.Sequence, Code: code, Payload: []byte(payload)})
	_, _ = w.conn.Write(b)
}

// Any answer without version 2 in it is a version 1 peer's.
func TestHelloFallsBackToV1(t *testing.T) {
	tests := []struct{ name, code, payload string }{
		{"NOT_FOUND", "NOT_FOUND", `"x"`},
		{"another code", "no such thing", ""},
		{"no JSON", "", "garbage"},
		{"another version", "", `{"flyrpc":1}`},
		{"nothing", "", ""},
		{"null", "", "null"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := func(w *wireEnd, p Packet) { respond(w, p, tt.code, tt.payload) }
				cli, err := connectTo(t, nil, answer)
				if err != nil || cli.Conn().PeerInfo().Version != 1 {
					t.Fatalf("Connect returned %v", err)
				}
				_, err = connectTo(t, &ClientOpts{RequireHello: true}, answer)
				wantErr(t, err, Unavailable, NotSent)
				wantText(t, err.Error(), "version 1", "RequireHello")
			})
		})
	}
}

// A version 1 server may speak before it answers, and what it says isn't lost.
func TestHelloPushedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		got := make(chan string, 1)
		cli.OnMessage("/push", func(s string) { got <- s })
		go w.send(Packet{Flag: FlagWait, Sequence: 1, Code: "/push", Payload: []byte("early")})
		if err := cli.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s := within(t, got); s != "early" {
			t.Errorf("got %q", s)
		}
		if v := cli.Conn().PeerInfo().Version; v != 1 {
			t.Errorf("version %d", v)
		}
	})
}

// A server that ignores hello is dialled again and not bothered with another.
func TestHelloIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []*wireEnd
		opts := quietOpts(&ClientOpts{DialFunc: func(context.Context, string) (net.Conn, error) {
			near, far := transport.Pipe(nil)
			ends = append(ends, newWireEnd(t, far))
			return near, nil
		}})
		cli := NewClient("anywhere", opts)
		defer cli.Close()
		begin := time.Now()
		if err := cli.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != DefaultHelloTimeout || len(ends) != 2 {
			t.Fatalf("%d dials in %v", len(ends), d)
		}
		if p := ends[0].recv(); p.Code != "fly.hello" {
			t.Errorf("first came %+v", p)
		}
		ends[0].wantEnd()
		if err := cli.SendMessage(context.Background(), "/x", 1); err != nil {
			t.Fatal(err)
		}
		if p := ends[1].recv(); p.Code != "/x" || string(p.Payload) != "1" || p.Flag != 0 {
			t.Errorf("on the second came %+v", p)
		}

		for _, o := range []ClientOpts{{RequireHello: true, DialFunc: opts.DialFunc}, {RequireHello: true, NoHello: true, DialFunc: opts.DialFunc}} {
			_, err := Dial(context.Background(), "anywhere", quietOpts(&o))
			if err == nil || !strings.Contains(err.Error(), "RequireHello") || Outcome(err) != NotSent {
				t.Errorf("with RequireHello: %v", err)
			}
		}
		given, w := clientWire(t, nil)
		wantText(t, given.Connect(context.Background()).Error(), "NoHello")
		w.recv()
		w.wantEnd()
	})
}

func TestHelloNoHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, &ClientOpts{NoHello: true})
		if err := cli.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := cli.SendMessage(context.Background(), "/x", nil); err != nil {
			t.Fatal(err)
		}
		if p := w.recv(); p.Code != "/x" || string(p.Payload) != "null" {
			t.Errorf("got %+v", p)
		}
	})
}

// Answers that are no packets, or none at all, are errors and not version 1.
func TestHelloBadAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w *wireEnd, p Packet)
		want   string
	}{
		{"closed", func(w *wireEnd, _ Packet) { w.conn.Close() }, "closed the connection instead of answering hello"},
		{"cut", func(w *wireEnd, _ Packet) { w.conn.Write([]byte{0x80, 0}); w.conn.Close() }, "unexpected EOF"},
		{"no packet", func(w *wireEnd, _ Packet) { w.conn.Write([]byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 200))) }, "code is longer"},
		{"too long", func(w *wireEnd, p Packet) {
			w.conn.Write(appendHeader(nil, FlagResponse, p.Sequence, "", nil, 1<<30))
		}, "longer than the limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cli, err := connectTo(t, nil, tt.answer)
				wantErr(t, err, Unavailable, NotSent)
				wantText(t, err.Error(), tt.want)
				if cli.Conn() != nil {
					t.Error("the client has a connection")
				}
			})
		})
	}
	t.Run("malformed refusal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := connectTo(t, nil, func(w *wireEnd, p Packet) {
				b := appendHeader(nil, FlagResponse|FlagMeta, p.Sequence, "FORBIDDEN", nil, 1)
				w.conn.Write(append(b, 0xff))
			})
			wantErr(t, err, BadRequest, NotSent)
		})
	})
}

// A hello that the server would not accept isn't sent.
func TestHelloTooLongToSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, &ClientOpts{Info: strings.Repeat("x", maxHello)})
		err := cli.Connect(context.Background())
		wantErr(t, err, TooLong, NotSent)
		wantText(t, err.Error(), "Info")
		w.wantEnd()
	})
}

// What bounds Dial is its context, which leaves the connection alone afterwards.
func TestHelloHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		err := cli.Connect(ctx)
		wantErr(t, err, Timeout, NotSent)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		w.recv()
		w.wantEnd()

		cli, _ = clientWire(t, nil)
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		err = cli.Connect(ctx)
		wantErr(t, err, Canceled, NotSent)
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}

		srv := quietServer(t, nil)
		srv.OnMessage("/ok", func() {})
		cli = pipeClient(t, srv, nil)
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := cli.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := cli.Call(context.Background(), "/ok", nil, nil); err != nil {
			t.Errorf("after the context of Connect has ended: %v", err)
		}
	})
}

// The peer may vanish in the middle of hello.
func TestHelloCutByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range int64(60) {
			near, far := transport.Pipe(nil)
			near.CloseAfter(n)
			cli := NewClientConn(near, quietOpts(nil))
			srv := quietServer(t, nil)
			go srv.ServeConn(far)
			err := cli.Connect(context.Background())
			wantErr(t, err, Unavailable, NotSent)
			var e *Error
			if !errors.As(err, &e) || errors.Is(err, io.EOF) && e.Remote() {
				t.Fatalf("after %d bytes: %v", n, err)
			}
			cli.Close()
			srv.Close()
		}
	})
}
