package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// wireEnd is one end of a connection that speaks in packets and bytes.
type wireEnd struct {
	t    testing.TB
	conn net.Conn
	buf  []byte
}

func newWireEnd(t testing.TB, conn net.Conn) *wireEnd {
	t.Cleanup(func() { conn.Close() })
	return &wireEnd{t: t, conn: conn}
}

// write writes bytes as they are.
func (w *wireEnd) write(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatalf("write %d bytes: %v", len(b), err)
	}
}

// send writes one packet.
func (w *wireEnd) send(p Packet) {
	w.t.Helper()
	b, err := AppendPacket(nil, &p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(b)
}

// request sends a request.
func (w *wireEnd) request(seq uint16, path, payload string) {
	w.t.Helper()
	w.send(Packet{Flag: FlagWait, Sequence: seq, Code: path, Payload: []byte(payload)})
}

// next returns the next packet, or why there is none. It waits for a minute at most.
func (w *wireEnd) next() (Packet, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return Packet{}, err
	}
	for {
		p, n, err := ParsePacket(w.buf, 16<<20)
		if !errors.Is(err, ErrShortPacket) {
			p.Payload, p.Meta = bytes.Clone(p.Payload), bytes.Clone(p.Meta)
			w.buf = w.buf[n:]
			return p, err
		}
		b := make([]byte, 64<<10)
		n, err = w.conn.Read(b)
		w.buf = append(w.buf, b[:n]...)
		if n == 0 && err != nil {
			return Packet{}, err
		}
	}
}

// recv returns the next packet.
func (w *wireEnd) recv() Packet {
	w.t.Helper()
	p, err := w.next()
	if err != nil {
		w.t.Fatalf("no packet: %v", err)
	}
	return p
}

// recvHeader returns the next packet's header and payload, as they came.
func (w *wireEnd) recvHeader() (header, []byte) {
	w.t.Helper()
	for {
		h, n, err := parseHeader(w.buf)
		if err == nil && len(w.buf)-n >= int(h.length) {
			end := n + int(h.length)
			payload := w.buf[n:end]
			w.buf = w.buf[end:]
			return h, payload
		}
		b := make([]byte, 64<<10)
		n, err = w.conn.Read(b)
		if err != nil {
			w.t.Fatalf("no packet: %v", err)
		}
		w.buf = append(w.buf, b[:n]...)
	}
}

// wantEnd checks that nothing comes any more but the end, which is orderly.
func (w *wireEnd) wantEnd() {
	w.t.Helper()
	if p, err := w.next(); err != io.EOF {
		w.t.Fatalf("got %+v, %v; want the end of the connection", p, err)
	}
}

// wantPingsAndEnd answers the pings that come, and checks that the end comes then.
func (w *wireEnd) wantPingsAndEnd() {
	w.t.Helper()
	for {
		p, err := w.next()
		if err == io.EOF {
			return
		}
		if err != nil || p.Code != "fly.ping" {
			w.t.Fatalf("got %+v, %v; want pings and the end of the connection", p, err)
		}
		w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence, Payload: p.Payload})
	}
}

// wantAnswer checks the next packet, a response, and returns it.
func (w *wireEnd) wantAnswer(seq uint16, code Code, message string) Packet {
	w.t.Helper()
	p := w.recv()
	if p.Flag&FlagResponse == 0 || p.Sequence != seq || p.Code != string(code) || !strings.Contains(string(p.Payload), message) {
		w.t.Fatalf("got %+v (%q), want a response to %d with code %q and %q", p, p.Payload, seq, code, message)
	}
	return p
}

// hello says hello with a JSON payload and returns the answer's.
func (w *wireEnd) hello(payload string) map[string]any {
	w.t.Helper()
	w.request(helloSequence, "fly.hello", payload)
	return helloFields(w.t, w.wantAnswer(helloSequence, "", ""))
}

func helloFields(t testing.TB, p Packet) map[string]any {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal(p.Payload, &fields); err != nil {
		t.Fatalf("hello %q: %v", p.Payload, err)
	}
	return fields
}

// plainHello is the shortest hello with JSON.
const plainHello = `{"flyrpc":2,"serializers":["json"],"codes":0}`

// isNotProcessed reports whether a response is marked so.
func isNotProcessed(p Packet) bool {
	for e, err := range ParseMeta(p.Meta) {
		if err == nil && e.ID == MetaNotProcessed {
			return true
		}
	}
	return false
}

// logText is a log that tests read.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newLogText() (*slog.Logger, *logText) {
	l := new(logText)
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// quietServer returns a Server that the test closes, and that doesn't log unless opts have a Logger.
func quietServer(t testing.TB, opts *ServerOpts) *Server {
	var o ServerOpts
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	srv := NewServer(&o)
	t.Cleanup(func() { srv.Close() })
	return srv
}

// servePipe has srv serve one end of a pipe and returns the other.
func servePipe(srv *Server) *transport.MemConn {
	near, far := transport.Pipe(nil)
	go srv.ServeConn(far)
	return near
}

// wireTo returns the raw end of a connection that srv serves.
func wireTo(t testing.TB, srv *Server) *wireEnd { return newWireEnd(t, servePipe(srv)) }

// quietOpts returns opts, never nil, with a Logger.
func quietOpts(opts *ClientOpts) *ClientOpts {
	var o ClientOpts
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &o
}

// pipeClient returns a Client over a pipe to srv, not yet connected, that the test closes.
func pipeClient(t testing.TB, srv *Server, opts *ClientOpts) *Client {
	cli := NewClientConn(servePipe(srv), quietOpts(opts))
	t.Cleanup(func() { cli.Close() })
	return cli
}

// connectPipe is pipeClient, connected.
func connectPipe(t testing.TB, srv *Server, opts *ClientOpts) *Client {
	t.Helper()
	cli := pipeClient(t, srv, opts)
	if err := cli.Connect(context.Background()); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return cli
}

// clientWire returns a Client, not yet connected, and the raw server it talks to.
func clientWire(t testing.TB, opts *ClientOpts) (*Client, *wireEnd) {
	near, far := transport.Pipe(nil)
	cli := NewClientConn(near, quietOpts(opts))
	t.Cleanup(func() { cli.Close() })
	return cli, newWireEnd(t, far)
}

// serverHello answers the client's hello with JSON fields and returns what the hello said.
func (w *wireEnd) serverHello(fields string) map[string]any {
	w.t.Helper()
	p := w.recv()
	if p.Code != "fly.hello" || p.Flag != FlagWait {
		w.t.Fatalf("got %+v, want hello", p)
	}
	w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence, Payload: []byte(fields)})
	return helloFields(w.t, p)
}

// wantErr checks an error's code and how far its call had come.
func wantErr(t testing.TB, err error, code Code, d Delivery) {
	t.Helper()
	var e *Error
	if !errors.Is(err, code) || !errors.As(err, &e) {
		t.Fatalf("got error %v, want an Error with code %s", err, code)
	}
	if got := Outcome(err); got != d {
		t.Fatalf("the outcome of %v is %v, want %v", err, got, d)
	}
}

// wantText checks that text has all parts.
func wantText(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Fatalf("%q has no %q", text, part)
		}
	}
}

// within returns what comes on ch within a minute.
func within[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came for a minute")
		panic("unreachable")
	}
}
