package flyrpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// v1Wait bounds every wait for the network.
const v1Wait = 20 * time.Second

// What version 1 knows of a packet's first byte, written down apart from packet.go.
const (
	v1Response   = 0x80
	v1Wants      = 0x40 // a response is waited for
	v1SpareFlags = 0x3C // no version 1 peer sends them or may be sent them
)

// v1Packet is a packet as a version 1 peer sees it.
type v1Packet struct {
	flag    byte // without the length's bits
	seq     uint16
	code    string
	payload string
}

func (p v1Packet) String() string {
	return fmt.Sprintf("{flag %#02x, sequence %d, code %q, payload %.80q}", p.flag, p.seq, p.code, p.payload)
}

// v1Bytes returns the bytes of a packet, with the shortest length field.
func v1Bytes(flag byte, seq uint16, code, payload string) []byte {
	bits := byte(0)
	switch n := len(payload); {
	case n >= 1<<16:
		bits = 2
	case n >= 1<<8:
		bits = 1
	}
	return v1BytesWide(bits, flag, seq, code, payload)
}

// v1BytesWide is v1Bytes with a length field of 1<<bits bytes.
func v1BytesWide(bits, flag byte, seq uint16, code, payload string) []byte {
	b := []byte{flag | bits, byte(seq >> 8), byte(seq)}
	b = append(append(b, code...), 0)
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(payload)))
	b = append(b, size[8-1<<bits:]...)
	return append(b, payload...)
}

// v1Peer is a version 1 peer: bytes on a connection. Every packet it reads is held to
// what a version 1 peer may be sent.
type v1Peer struct {
	t     testing.TB
	conn  net.Conn
	r     *bufio.Reader
	empty bool // packets without a payload are expected
}

func newV1Peer(t testing.TB, conn net.Conn) *v1Peer {
	t.Cleanup(func() { conn.Close() })
	return &v1Peer{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// write writes bytes as they are, in one go.
func (p *v1Peer) write(b []byte) {
	p.t.Helper()
	if err := p.conn.SetWriteDeadline(time.Now().Add(v1Wait)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("writing %d bytes: %v", len(b), err)
	}
}

// request writes a request.
func (p *v1Peer) request(seq uint16, path, payload string) {
	p.t.Helper()
	p.write(v1Bytes(v1Wants, seq, path, payload))
}

// message writes a message as the Node peer does, with sequence 0.
func (p *v1Peer) message(path, payload string) {
	p.t.Helper()
	p.write(v1Bytes(0, 0, path, payload))
}

// answer writes a response.
func (p *v1Peer) answer(seq uint16, code, payload string) {
	p.t.Helper()
	p.write(v1Bytes(v1Response, seq, code, payload))
}

// next reads a packet. Its error is the connection's.
func (p *v1Peer) next() (v1Packet, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(v1Wait)); err != nil {
		return v1Packet{}, err
	}
	head := make([]byte, 3)
	if _, err := io.ReadFull(p.r, head); err != nil {
		return v1Packet{}, err
	}
	code, err := p.r.ReadString(0)
	if err != nil {
		return v1Packet{}, fmt.Errorf("in a code: %w", err)
	}
	size := make([]byte, 8)
	bits := head[0] & 3
	if _, err := io.ReadFull(p.r, size[8-1<<bits:]); err != nil {
		return v1Packet{}, fmt.Errorf("in a length: %w", err)
	}
	payload := make([]byte, binary.BigEndian.Uint64(size))
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return v1Packet{}, fmt.Errorf("in a payload of %d bytes: %w", len(payload), err)
	}
	got := v1Packet{head[0] &^ 3, binary.BigEndian.Uint16(head[1:]), code[:len(code)-1], string(payload)}
	p.t.Helper()
	p.audit(got, bits)
	return got, nil
}

// audit holds a packet to what a version 1 peer may be sent.
func (p *v1Peer) audit(got v1Packet, bits byte) {
	p.t.Helper()
	if got.flag&v1SpareFlags != 0 {
		p.t.Errorf("%v has flags that version 1 doesn't know", got)
	}
	if len(got.payload) == 0 && !p.empty {
		p.t.Errorf("%v has no payload: the Node peer doesn't deliver it", got)
	}
	if want := v1Bytes(0, 0, "", got.payload)[0] & 3; bits != want {
		p.t.Errorf("%v has a length of %d bytes, %d are enough", got, 1<<bits, 1<<want)
	}
}

// recv returns the next packet.
func (p *v1Peer) recv() v1Packet {
	p.t.Helper()
	got, err := p.next()
	if err != nil {
		p.t.Fatalf("no packet: %v", err)
	}
	return got
}

// want checks the next packet.
func (p *v1Peer) want(want v1Packet) {
	p.t.Helper()
	if got := p.recv(); got != want {
		p.t.Fatalf("got  %v\nwant %v", got, want)
	}
}

// wantAnswer checks that the next packet is the response to seq.
func (p *v1Peer) wantAnswer(seq uint16, payload string) {
	p.t.Helper()
	p.want(v1Packet{v1Response, seq, "", payload})
}

// wantError checks that the next packet is a response to seq with a code, and returns its
// payload.
func (p *v1Peer) wantError(seq uint16, code string) string {
	p.t.Helper()
	got := p.recv()
	if got.flag != v1Response || got.seq != seq || got.code != code {
		p.t.Fatalf("got %v, want a response to %d with code %q", got, seq, code)
	}
	return got.payload
}

// wantRequest checks that the next packet is a request and returns its sequence.
func (p *v1Peer) wantRequest(path, payload string) uint16 {
	p.t.Helper()
	got := p.recv()
	if got.flag != v1Wants || got.seq == 0 || got.code != path || got.payload != payload {
		p.t.Fatalf("got %v, want a request to %q with %q and a sequence", got, path, payload)
	}
	return got.seq
}

// wantMessage checks that the next packet is a message.
func (p *v1Peer) wantMessage(path, payload string) {
	p.t.Helper()
	p.want(v1Packet{0, 0, path, payload})
}

// wantLife checks that the other end, which serves /alive, goes on, and that nothing
// was sent before its answer.
func (p *v1Peer) wantLife() {
	p.t.Helper()
	p.request(4711, "/alive", "1")
	p.wantAnswer(4711, "1")
}

// wantEnd checks that the connection ends without another packet.
func (p *v1Peer) wantEnd() {
	p.t.Helper()
	if got, err := p.next(); err == nil {
		p.t.Fatalf("got %v, want the end of the connection", got)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		p.t.Fatal("the connection doesn't end")
	}
}

// alive is what wantLife calls.
func alive(n int) int { return n }

// v1Listen has srv serve a TCP port, and returns a peer that is connected to it.
func v1Listen(t testing.TB, srv *Server) *v1Peer {
	t.Helper()
	srv.OnMessage("/alive", alive)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	conn, err := net.DialTimeout("tcp", l.Addr().String(), v1Wait)
	if err != nil {
		t.Fatal(err)
	}
	return newV1Peer(t, conn)
}

// v1Pipe has srv serve one end of a pipe, and returns a peer at the other.
func v1Pipe(t testing.TB, srv *Server) *v1Peer {
	srv.OnMessage("/alive", alive)
	return newV1Peer(t, servePipe(srv))
}

// v1Dial returns a Client that is connected to a fake server on a TCP port, and that
// server, whose part of the handshake is hello's.
func v1Dial(t testing.TB, opts *ClientOpts, hello func(*v1Peer) error) (*Client, *v1Peer) {
	t.Helper()
	cli, p, err := v1TryDial(t, opts, hello)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return cli, p
}

// v1TryDial is v1Dial where Connect may fail.
func v1TryDial(t testing.TB, opts *ClientOpts, hello func(*v1Peer) error) (*Client, *v1Peer, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type accepted struct {
		peer *v1Peer
		err  error
	}
	done := make(chan accepted, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- accepted{nil, err}
			return
		}
		p := newV1Peer(t, conn)
		done <- accepted{p, hello(p)}
	}()
	cli := NewClient(l.Addr().String(), quietOpts(opts))
	t.Cleanup(func() { cli.Close() })
	cli.OnMessage("/alive", alive)
	ctx, cancel := context.WithTimeout(context.Background(), v1Wait)
	defer cancel()
	connErr := cli.Connect(ctx)
	a := <-done
	if a.err != nil {
		t.Fatalf("the fake server: %v", a.err)
	}
	return cli, a.peer, connErr
}

// readHello reads the client's hello and returns its sequence.
func (p *v1Peer) readHello() (uint16, error) {
	got, err := p.next()
	if err == nil && (got.flag != v1Wants || got.code != "fly.hello") {
		err = fmt.Errorf("got %v, want hello", got)
	}
	return got.seq, err
}

// notFound is the Go server's handshake: it knows no fly.hello.
func notFound(p *v1Peer) error {
	seq, err := p.readHello()
	if err == nil {
		_, err = p.conn.Write(v1Bytes(v1Response, seq, "NOT_FOUND", ""))
	}
	return err
}

// v1ClientPipe returns a Client with NoHello over a pipe, and the server at its other end.
func v1ClientPipe(t testing.TB, opts *ClientOpts) (*Client, *v1Peer) {
	t.Helper()
	o := quietOpts(opts)
	o.NoHello = true
	near, far := transport.Pipe(nil)
	cli := NewClientConn(near, o)
	t.Cleanup(func() { cli.Close() })
	cli.OnMessage("/alive", alive)
	if err := cli.Connect(context.Background()); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return cli, newV1Peer(t, far)
}

// v1Context returns a context that ends with the test, after v1Wait at the latest.
func v1Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), v1Wait)
	t.Cleanup(cancel)
	return ctx
}
