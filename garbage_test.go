package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// garbage is what comes to a port that isn't for it.
func garbage() map[string][]byte {
	random := make([]byte, 20000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	random[0] = 0x3c
	return map[string][]byte{
		"random":       random,
		"TLS":          append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, random[:500]...),
		"HTTP":         []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"),
		"HTTP/2":       []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
		"JSON":         []byte(`{"action":"/touch","key":"1","body":{}}` + "\n"),
		"SSH":          []byte("SSH-2.0-OpenSSH_9.6\r\n"),
		"half header":  {0x40, 0, 1, '/', 't', 'o'},
		"half payload": append(appendHeader(nil, FlagWait, 1, "/touch", nil, 200), 1, 2, 3),
		"long code":    append([]byte{0x40, 0, 1}, bytes.Repeat([]byte{'a'}, maxCodeLen+1)...),
		"long payload": appendHeader(nil, FlagWait, 1, "/touch", nil, 1<<30),
		"stream":       {0x60, 0, 1, '/', 'x', 0, 0},
		"one byte":     {0xff},
	}
}

// Garbage ends its own connection within HelloTimeout, with a reason in the log. A
// client that behaves notices nothing, and no handler runs.
func TestGarbage(t *testing.T) {
	for name, b := range garbage() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, text := newLogText()
				srv := quietServer(t, &ServerOpts{Logger: log, NoHTTP: true, NoCommands: true})
				srv.OnMessage("/touch", func() { t.Error("a handler ran") })
				srv.OnMessage("/echo", func(n int) int { return n })
				cli := connectPipe(t, srv, nil)
				stop, calls := make(chan struct{}), make(chan int, 1)
				go func() {
					for n := 0; ; n++ {
						if got, err := Call[int](context.Background(), cli, "/echo", n); got != n || err != nil {
							t.Errorf("call %d: %d, %v", n, got, err)
						}
						select {
						case <-stop:
							calls <- n
							return
						case <-time.After(100 * time.Millisecond):
						}
					}
				}()
				begin := time.Now()
				w := wireTo(t, srv)
				go func() { _, _ = w.conn.Write(b) }()
				_, _ = io.Copy(io.Discard, w.conn)
				if d := time.Since(begin); d > DefaultHelloTimeout {
					t.Errorf("closed after %v", d)
				}
				synctest.Wait()
				wantText(t, text.String(), "level=WARN", "connection closed", "reason=")
				time.Sleep(time.Second)
				close(stop)
				if n := within(t, calls); n < 9 {
					t.Errorf("the other client made %d calls", n)
				}
			})
		})
	}
}

// The same over TCP, where closing with unread data is harsher.
func TestGarbageTCP(t *testing.T) {
	log, text := newLogText()
	srv := quietServer(t, &ServerOpts{Logger: log, HelloTimeout: 200 * time.Millisecond, NoHTTP: true, NoCommands: true})
	srv.OnMessage("/echo", func(n int) int { return n })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cli, err := Dial(ctx, l.Addr().String(), quietOpts(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	ended := make(chan string)
	for name, b := range garbage() {
		go func() {
			defer func() { ended <- name }()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_, _ = nc.Write(b)
			_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, nc); err != nil && ctx.Err() == nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Errorf("%s: the connection is open still", name)
				}
			}
		}()
	}
	for left := len(garbage()); left > 0; {
		select {
		case <-ended:
			left--
		default:
		}
		if _, err := Call[int](ctx, cli, "/echo", left); err != nil {
			t.Fatalf("a client that behaves: %v", err)
		}
	}
	said, warned := []byte(text.String()), []byte("level=WARN")
	if n := bytes.Count(said, []byte("connection closed")); n != len(garbage()) || !bytes.Contains(said, warned) {
		t.Errorf("%d lines for %d connections, %d of them warnings", n, len(garbage()), bytes.Count(said, warned))
	}
}

// fuzzSeeds are sequences of packets that do something.
func fuzzSeeds() [][]byte {
	packet := func(p Packet) []byte { b, _ := AppendPacket(nil, &p); return b }
	timeout := AppendMeta(nil, MetaTimeout, "", "\x05")
	raw := AppendMeta(nil, MetaSerializer, "", "")
	seeds := [][]byte{
		packet(Packet{Flag: FlagWait, Sequence: 1, Code: "/echo", Payload: []byte(`{"ID":1}`)}),
		packet(Packet{Flag: FlagWait, Sequence: 1, Code: "/call", Meta: timeout}),
		packet(Packet{Flag: FlagWait, Sequence: 2, Code: "/wait", Meta: raw, Payload: []byte("raw")}),
		packet(Packet{Flag: FlagStream, Sequence: 2, Code: "c"}),
		packet(Packet{Flag: FlagStream | FlagWait, Sequence: 4, Code: "+"}),
		packet(Packet{Flag: FlagWait, Sequence: 3, Code: "fly.ping", Payload: []byte("x")}),
		packet(Packet{Flag: FlagWait, Sequence: 3, Code: "fly.hello", Payload: []byte(plainHello)}),
		packet(Packet{Code: "fly.bye", Payload: []byte(`{"code":"X","message":"y"}`)}),
		packet(Packet{Code: "/inline", Payload: []byte("1")}),
		packet(Packet{Flag: FlagWait, Sequence: 9, Code: "/ordered", Payload: []byte("1")}),
		packet(Packet{Flag: FlagResponse, Sequence: 0x8000, Payload: []byte("1")}),
		packet(Packet{Flag: FlagResponse, Sequence: 0x8001, Code: "E", Meta: AppendMeta(nil, MetaDetails, "", "1"), Payload: []byte("m")}),
		packet(Packet{Flag: FlagZipPayload, Code: "/echo"}),
		appendHeader(nil, FlagWait, 5, "/echo", nil, 100<<10),
		bytes.Repeat([]byte{0, 0, 0, 0, 0}, 50),
	}
	return append(seeds, bytes.Join(seeds, nil), bytes.Join(seeds[:6], nil))
}

// registerFuzz adds handlers of all kinds.
func registerFuzz(r *Router) {
	type message struct {
		ID   int
		Name string
	}
	r.OnMessage("/echo", func(m *message) *message { return m })
	r.OnMessage("/call", func(ctx *Context) (n int, err error) { err = ctx.Call("/x", 1, &n); return n, err })
	r.OnMessage("/wait", func(ctx *Context, b []byte) []byte { <-ctx.Done(); return b })
	r.OnMessage("/inline", func(b []byte) []byte { return b }, Inline)
	r.OnMessage("/ordered", func(v any) any { return v }, Ordered)
	r.OnMessage("/files/{path...}", func(ctx *Context) string { return ctx.Param("path") })
}

func fuzzLimits() ServerOpts {
	return ServerOpts{MaxMessage: 64 << 10, MaxCalls: 8, Logger: slog.New(slog.DiscardHandler)}
}

// FuzzServerBytes feeds a server whatever after a hello: there is no panic, no
// hang and no goroutine left, which the bubble would report.
func FuzzServerBytes(f *testing.F) {
	for _, b := range fuzzSeeds() {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, hello bool) {
		synctest.Test(t, func(t *testing.T) {
			opts := fuzzLimits()
			srv := quietServer(t, &opts)
			registerFuzz(srv.Router)
			w := wireTo(t, srv)
			if hello {
				w.hello(plainHello)
			}
			synctest.Wait()
			for _, c := range srv.Conns() {
				call := c.Go(context.Background(), "/back", 1, new(int))
				defer call.Err()
			}
			feed(w, data)
			srv.Close()
		})
	})
}

// FuzzClientBytes feeds a client whatever instead of a server's packets, as the answer
// to hello or after it.
func FuzzClientBytes(f *testing.F) {
	answer, _ := AppendPacket(nil, &Packet{Flag: FlagResponse, Sequence: helloSequence, Payload: []byte(plainHello)})
	for _, b := range fuzzSeeds() {
		f.Add(b)
		f.Add(append(bytes.Clone(answer), b...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			limits := fuzzLimits()
			near, far := transport.Pipe(nil)
			cli := NewClientConn(near, &ClientOpts{MaxMessage: limits.MaxMessage, MaxCalls: limits.MaxCalls, Logger: limits.Logger})
			registerFuzz(cli.Router)
			for range 4 {
				go func() {
					var v any
					_ = cli.Call(context.Background(), "/x", json.Number("1"), &v)
				}()
			}
			feed(newWireEnd(t, far), data)
			cli.Close()
		})
	})
}

// feed writes data, reads what comes back, and closes the connection after a while.
func feed(w *wireEnd, data []byte) {
	go func() { _, _ = io.Copy(io.Discard, w.conn) }()
	go func() { _, _ = w.conn.Write(data) }()
	time.Sleep(10 * time.Second)
	w.conn.Close()
	synctest.Wait()
}
