package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// nodeReader takes packets out of what is read as the old Node peer does, with its faults.
type nodeReader struct {
	head      []byte // flag and sequence
	code      []byte
	inLength  bool
	size, got int // bytes of the length field
	length    int
	payload   []byte
	inPayload bool
	broken    bool // a read boundary split the code
	packets   []v1Packet
}

// errNodeLength is what the Node peer throws on an 8-byte length.
var errNodeLength = errors.New("the Node peer throws on a length of 8 bytes")

// read takes what one read has returned.
func (n *nodeReader) read(chunk []byte) error {
	for _, b := range chunk {
		if n.inPayload && len(n.payload) == n.length {
			n.deliver() // a packet without a payload: only now
		}
		if err := n.take(b); err != nil {
			return err
		}
		if n.inPayload && n.length > 0 && len(n.payload) == n.length {
			n.deliver()
		}
	}
	if len(n.head) == 3 && !n.inLength && !n.inPayload && len(n.code) > 0 {
		n.broken = true
	}
	return nil
}

func (n *nodeReader) take(b byte) error {
	switch {
	case n.inPayload:
		n.payload = append(n.payload, b)
	case n.inLength:
		n.length = n.length<<8 | int(b)
		n.got++
		n.inPayload = n.got == n.size
	case len(n.head) < 3:
		n.head = append(n.head, b)
	case b != 0:
		n.code = append(n.code, b)
	default:
		if n.size = 1 << (n.head[0] & 3); n.size == 8 {
			return errNodeLength
		}
		n.inLength = true
	}
	return nil
}

func (n *nodeReader) deliver() {
	if n.broken {
		n.code = []byte("corrupted")
	}
	seq := uint16(n.head[1])<<8 | uint16(n.head[2])
	p := v1Packet{n.head[0] &^ 3, seq, string(n.code), string(n.payload)}
	*n = nodeReader{packets: append(n.packets, p)}
}

// writeLog is a connection that remembers every write.
type writeLog struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (l *writeLog) add(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, append([]byte(nil), b...))
}

func (l *writeLog) Write(b []byte) (int, error) {
	l.add(b)
	return l.Conn.Write(b)
}

// tryLog is a writeLog that can be written without blocking.
type tryLog struct {
	writeLog
	try transport.TryWriter
}

func (l *tryLog) TryWrite(b []byte) (int, error) {
	l.add(b)
	return l.try.TryWrite(b)
}

// wantNode checks that the Node peer, which reads every write by itself, gets each of n
// packets whole, by itself and at once.
func (l *writeLog) wantNode(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var node nodeReader
	for i, b := range l.writes {
		if err := node.read(b); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if len(node.packets) != i+1 {
			t.Fatalf("after write %d of %d bytes (%.80q) the Node peer has %d packets", i, len(b), b, len(node.packets))
		}
		if p := node.packets[i]; p.code == "corrupted" || p.flag&v1SpareFlags != 0 {
			t.Fatalf("the Node peer gets %v", p)
		}
	}
	if len(node.packets) != n {
		t.Errorf("the Node peer got %d packets, want %d", len(node.packets), n)
	}
}

func TestNodeReader(t *testing.T) {
	var n nodeReader
	empty, full := v1Bytes(v1Response, 1, "", ""), v1Bytes(v1Wants, 0x102, "/code", "body")
	_ = n.read(empty)
	if len(n.packets) != 0 {
		t.Error("an empty payload is delivered at once")
	}
	_ = n.read(full)
	if len(n.packets) != 2 || n.packets[1] != (v1Packet{v1Wants, 0x102, "/code", "body"}) {
		t.Errorf("got %v", n.packets)
	}
	_ = n.read(full[:5])
	_ = n.read(full[5:])
	if len(n.packets) != 3 || n.packets[2].code != "corrupted" {
		t.Errorf("got %v", n.packets)
	}
	if err := n.read(v1BytesWide(3, v1Wants, 1, "/a", "b")); err != errNodeLength {
		t.Errorf("a length of 8 bytes: %v", err)
	}
}

// TestV1NodeClient has the old Node client call a server.
func TestV1NodeClient(t *testing.T) {
	t.Run("messages have sequence 0", func(t *testing.T) {
		srv := quietServer(t, nil)
		notes := make(chan string, 2)
		srv.OnMessage("/note", func(s string) (string, error) { notes <- s; return "no answer", errors.New(s) }, Ordered)
		p := v1Listen(t, srv)
		p.message("/note", "a")
		p.message("/note", "b")
		p.message("/unknown", "c")
		p.wantLife()
		if a, b := within(t, notes), within(t, notes); a != "a" || b != "b" {
			t.Errorf("got %q and %q", a, b)
		}
	})
	t.Run("requests count from 1 to 65534", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		for _, seq := range []uint16{1, 2, 65533, 65534, 1} {
			p.request(seq, "/alive", "3")
			p.wantAnswer(seq, "3")
		}
	})
	t.Run("requests come byte by byte", func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/text", func(s string) string { return s })
		p := v1Pipe(t, srv)
		p.conn.(*transport.MemConn).SetChunk(1)
		for i := range uint16(50) {
			p.request(i, "/text", fmt.Sprint("text ", i))
			p.wantAnswer(i, fmt.Sprint("text ", i))
		}
	})
	t.Run("several requests come in one read", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		p.write(append(append(v1Bytes(v1Wants, 1, "/alive", "1"), v1Bytes(0, 0, "/alive", "2")...), v1Bytes(v1Wants, 3, "/nope", "3")...))
		got := []v1Packet{p.recv(), p.recv()}
		if got[0].seq == 3 { // in any order
			got[0], got[1] = got[1], got[0]
		}
		if got[0] != (v1Packet{v1Response, 1, "", "1"}) || got[1].seq != 3 || got[1].code != "NOT_FOUND" {
			t.Errorf("got %v", got)
		}
		p.wantLife()
	})
	t.Run("each packet is one write", func(t *testing.T) {
		for _, way := range []string{"Write", "TryWrite"} {
			t.Run(way, func(t *testing.T) { v1OneWrite(t, way) })
		}
	})
}

// v1OneWrite has a server say all it can, at once, to a peer that remembers the writes.
func v1OneWrite(t *testing.T, way string) {
	near, far := transport.Pipe(&transport.PipeOptions{Buffer: 8 << 20})
	var conn net.Conn
	log := &writeLog{Conn: far}
	conn = log
	if way == "TryWrite" {
		try := &tryLog{writeLog: writeLog{Conn: far}, try: far}
		conn, log = try, &try.writeLog
	}
	srv := quietServer(t, nil)
	srv.OnMessage("/alive", alive)
	srv.OnMessage("/inline", func(s string) string { return s }, Inline)
	srv.OnMessage("/ordered", func(s string) string { return s }, Ordered)
	srv.OnMessage("/large", func() string { return strings.Repeat("x", 20_000) }) // all of them fit into the queue, so that no broadcast is left out
	srv.OnMessage("/nil", func() {})
	srv.OnMessage("/fail", func() error { return errors.New("failed") })
	srv.OnMessage("/panic", func() { panic("x") })
	go srv.ServeConn(conn)
	p := newV1Peer(t, near)
	p.wantLife()
	paths := []string{"/alive", "/inline", "/ordered", "/large", "/nil", "/fail", "/panic", "/unknown", "fly.ping", "fly.hello"}
	const rounds = 30
	var burst []byte
	for i := range rounds {
		for j, path := range paths {
			burst = append(burst, v1Bytes(v1Wants, uint16(i*len(paths)+j), path, "1")...)
		}
	}
	var senders sync.WaitGroup
	server := srv.Conns()[0]
	for range 4 {
		senders.Go(func() {
			for range rounds {
				if err := server.SendMessage(v1Context(t), "/note", strings.Repeat("n", 300)); err != nil {
					t.Error(err)
				}
				if err := srv.Broadcast("/all", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	p.write(burst)
	senders.Wait()
	n := rounds*len(paths) + 8*rounds
	for range n {
		p.recv()
	}
	p.wantLife()
	log.wantNode(t, n+2)
}

// TestV1LongSession has both ends use everything that version 2 adds with a version 1
// peer, which must see none of it: v1Peer checks each packet, and nothing else comes.
func TestV1LongSession(t *testing.T) {
	use := func(t *testing.T, c *Conn, p *v1Peer) {
		ctx := WithIdempotent(WithMeta(v1Context(t), "key", strings.Repeat("v", 9000)))
		var meta Metadata
		ctx = WithReplyMeta(ctx, &meta)
		for i := range 20 {
			call := c.Go(ctx, "/call", i, nil)
			p.answer(p.wantRequest("/call", fmt.Sprint(i)), "", "null")
			if err := call.Err(); err != nil {
				t.Fatal(err)
			}
			if err := c.SendMessage(ctx, "/note", nil); err != nil {
				t.Fatal(err)
			}
			p.wantMessage("/note", "null")
			canceled, cancel := context.WithCancel(ctx)
			call = c.Go(canceled, "/cancel", i, nil)
			late := p.wantRequest("/cancel", fmt.Sprint(i))
			cancel()
			wantErr(t, call.Err(), Canceled, Unknown)
			p.answer(late, "", "null")
			pong := make(chan error, 1)
			go func() {
				_, err := c.Ping(i, v1Wait)
				pong <- err
			}()
			p.answer(p.wantRequest("fly.ping", strings.Repeat("\x00", max(i, 1))), "NOT_FOUND", "")
			if err := within(t, pong); err != nil {
				t.Error(err)
			}
			p.request(uint16(i), "/details", "1")
			p.wantError(uint16(i), "CONFLICT")
			p.request(uint16(i), "/inline", "1")
			p.wantAnswer(uint16(i), "1")
		}
	}
	handlers := func(r *Router) {
		r.OnMessage("/details", func(ctx *Context) error {
			_ = ctx.SetMeta("k", "v")
			return Errorf(Conflict, "twice").WithDetails([]int{1})
		})
		r.OnMessage("/inline", func(ctx *Context, n int) (int, error) { return n, ctx.SetMeta("k", "v") }, Inline)
	}
	t.Run("server", func(t *testing.T) {
		srv := quietServer(t, nil)
		handlers(srv.Router)
		p := v1Listen(t, srv)
		p.wantLife()
		use(t, srv.Conns()[0], p)
		if err := srv.Broadcast("/all", v1User{1, "Ada"}); err != nil {
			t.Error(err)
		}
		p.wantMessage("/all", `{"id":1,"name":"Ada"}`)
		v1Bye(t, srv, p)
	})
	t.Run("client", func(t *testing.T) {
		cli, p := v1Dial(t, nil, notFound)
		handlers(cli.Router)
		use(t, cli.Conn(), p)
		cli.Close()
		p.wantEnd()
	})
}

// v1Bye has srv shut down while a request of its peer is open: no bye is said, new
// requests are refused, and the open one is answered.
func v1Bye(t *testing.T, srv *Server, p *v1Peer) {
	started, release := make(chan struct{}), make(chan struct{})
	srv.OnMessage("/slow", func() { close(started); <-release })
	p.request(1, "/slow", "1")
	within(t, started)
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(v1Context(t)) }()
	for p.request(2, "/alive", "1"); ; p.request(2, "/alive", "1") {
		if got := p.recv(); got.code == "UNAVAILABLE" {
			break
		}
	}
	close(release)
	p.wantAnswer(1, "null")
	p.wantEnd()
	p.conn.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(v1Wait):
		t.Error("Shutdown doesn't return")
	}
}
