package flyrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
)

// newTestReader returns a reader of conn with a limit.
func newTestReader(conn net.Conn, limit uint64) *reader {
	r := &reader{conn: conn, bufs: new(buffers), max: limit}
	r.init()
	return r
}

// pattern returns n bytes in which none is where it would be in another pattern.
func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8 ^ i*7 ^ seed)
	}
	return b
}

// wireOf returns the wire form of a packet.
func wireOf(t testing.TB, p *Packet) []byte {
	t.Helper()
	b, err := AppendPacket(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantNext reads a packet and compares it.
func wantNext(t *testing.T, r *reader, want *Packet) received {
	t.Helper()
	p, err := r.next()
	if err != nil {
		t.Fatal(err)
	}
	got := Packet{Flag: p.flag, Sequence: p.seq, Code: string(p.code), Payload: p.payload}
	if diff := samePacket(got, *want); diff != "" {
		t.Fatal(diff)
	}
	return p
}

// TestReaderBorders reads payloads around the length from which they are read into memory of
// their own, in pieces of many lengths.
func TestReaderBorders(t *testing.T) {
	for _, piece := range []int{1, 2, 100, 255} {
		var stream []byte
		var want []Packet
		for i, n := range []int{0, 1, largeBody - 1, largeBody, largeBody + 1, 0, bufferSize - 6, bufferSize, bufferSize + 1, 3, firstLarge, firstLarge + 1, 5} {
			p := Packet{Flag: FlagWait, Sequence: uint16(i), Code: fmt.Sprintf("path/%d", i), Payload: pattern(n, i)}
			want = append(want, p)
			stream = append(stream, wireOf(t, &p)...)
		}
		r := newTestReader(&choppedConn{data: stream, pieces: []byte{byte(piece), 255, byte(piece) / 3}}, 1<<20)
		var kept [][]byte
		for i := range want {
			p := wantNext(t, r, &want[i])
			if shared := len(want[i].Payload) < largeBody; p.shared != shared {
				t.Errorf("%d bytes: shared is %v", len(want[i].Payload), p.shared)
			}
			if p.shared {
				if cap(p.payload) != len(p.payload) {
					t.Errorf("%d bytes: the payload can grow into the next packet", len(p.payload))
				}
				kept = append(kept, nil)
			} else {
				kept = append(kept, p.payload)
			}
		}
		if _, err := r.next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		for i, b := range kept {
			if b != nil && !bytes.Equal(b, want[i].Payload) {
				t.Errorf("payload %d, which isn't shared, was overwritten", i)
			}
		}
	}
}

// listConn is a connection whose Reads return the given pieces, one each.
type listConn struct {
	net.Conn
	pieces [][]byte
}

func (c *listConn) Read(b []byte) (int, error) {
	for len(c.pieces) > 0 {
		p := c.pieces[0]
		if len(p) > len(b) {
			return 0, io.ErrShortBuffer
		}
		if c.pieces = c.pieces[1:]; len(p) > 0 {
			return copy(b, p), nil
		}
	}
	return 0, io.EOF
}

// TestReaderSplit splits a stream of three packets at every byte.
func TestReaderSplit(t *testing.T) {
	first := Packet{Flag: FlagWait, Sequence: 1, Code: "first", Payload: pattern(300, 1)}
	second := Packet{Flag: FlagResponse, Sequence: 2}
	third := Packet{Code: "/third/{id}", Payload: []byte("x")}
	stream := append(append(wireOf(t, &first), wireOf(t, &second)...), wireOf(t, &third)...)
	for at := range len(stream) + 1 {
		r := newTestReader(&listConn{pieces: [][]byte{stream[:at], stream[at:]}}, 1000)
		for _, want := range []*Packet{&first, &second, &third} {
			wantNext(t, r, want)
		}
		if _, err := r.next(); err != io.EOF {
			t.Errorf("split at %d, the end is %v", at, err)
		}
	}
}

// TestReaderEnds cuts a stream at every byte: between packets the error is io.EOF, within one
// io.ErrUnexpectedEOF, be it large, small or skipped.
func TestReaderEnds(t *testing.T) {
	small := Packet{Code: "small", Payload: []byte("payload")}
	large := Packet{Code: "large", Payload: pattern(largeBody, 2)}
	over := Packet{Code: "over", Payload: pattern(largeBody+100, 3)}
	stream := wireOf(t, &small)
	borders := map[int]bool{0: true, len(stream): true}
	stream = append(stream, wireOf(t, &large)...)
	borders[len(stream)] = true
	stream = append(stream, wireOf(t, &over)...)
	borders[len(stream)] = true
	for at := 0; at <= len(stream); at++ {
		if at > 100 && at%1000 > 30 && at < len(stream)-20 {
			continue
		}
		steps := readAll(&choppedConn{data: stream[:at]}, largeBody)
		want := io.ErrUnexpectedEOF
		if borders[at] {
			want = io.EOF
		}
		if last := steps[len(steps)-1]; last.err != want.Error() {
			t.Fatalf("cut at byte %d of %d: %v, want %v", at, len(stream), last.err, want)
		}
	}
}

// TestReaderSkips refuses packets over the limit, of which one claims more than memory holds, and
// reads on behind those that come whole.
func TestReaderSkips(t *testing.T) {
	for _, n := range []int{11, 300, largeBody, bufferSize, 100_000} {
		over := Packet{Flag: FlagWait, Sequence: 9, Code: "over", Payload: pattern(n, n)}
		next := Packet{Sequence: 10, Code: "next", Payload: []byte("0123456789")}
		r := newTestReader(&choppedConn{data: append(wireOf(t, &over), wireOf(t, &next)...), pieces: []byte{17, 250}}, 10)
		p, err := r.next()
		if !errors.Is(err, ErrLongPayload) || string(p.code) != "over" || p.seq != 9 || p.flag != FlagWait || p.length != uint64(n) || p.payload != nil {
			t.Fatalf("%d bytes: %+v, %v", n, p, err)
		}
		if err := r.skip(p.length); err != nil {
			t.Fatal(err)
		}
		wantNext(t, r, &next)
		if err := r.skip(0); err != nil {
			t.Errorf("skipping nothing: %v", err)
		}
	}
	r := newTestReader(&choppedConn{data: runs(t, "43 0001 61 00 1000000000000000 00*100")}, 4<<20)
	var err error
	if n := allocated(func() { _, err = r.next() }); n > 64<<10 {
		t.Errorf("a claim of 2^60 bytes takes %d bytes of memory", n)
	}
	if !errors.Is(err, ErrLongPayload) {
		t.Fatal(err)
	}
	if err := r.skip(1 << 60); err != io.ErrUnexpectedEOF {
		t.Errorf("the end within what is skipped: %v", err)
	}
}

// TestReaderLongCode refuses a code that doesn't end, at its 4097th byte.
func TestReaderLongCode(t *testing.T) {
	for _, piece := range []byte{0, 100, 255} {
		r := newTestReader(&choppedConn{data: bytes.Repeat([]byte("a"), 100_000), pieces: []byte{piece}}, 10)
		if _, err := r.next(); err != ErrLongCode {
			t.Errorf("%v", err)
		}
		if n := r.buffered(); n > maxCodeLen+4+int(piece) {
			t.Errorf("%d bytes were read first", n)
		}
	}
}

// TestReaderCode checks that the code of a large packet holds while its payload is read.
func TestReaderCode(t *testing.T) {
	code := string(bytes.Repeat([]byte("/code"), 800))
	p := Packet{Code: code, Payload: bytes.Repeat([]byte{'#'}, 1<<20)}
	r := newTestReader(&choppedConn{data: wireOf(t, &p), pieces: []byte{255, 30}}, 1<<20)
	wantNext(t, r, &p)
}

// TestReaderMemory checks that memory for a large payload is taken as its bytes come.
func TestReaderMemory(t *testing.T) {
	const claimed = 4 << 20
	head := appendHeader(nil, 0, 1, "large", nil, claimed)
	for _, c := range []struct{ sent, most int }{
		{10, firstLarge},
		{firstLarge - 1, firstLarge},
		{firstLarge, firstLarge + 4*firstLarge},
		{1 << 20, firstLarge + 4*firstLarge + claimed},
	} {
		data := append(bytes.Clone(head), make([]byte, c.sent)...)
		r := newTestReader(&choppedConn{data: data}, claimed)
		var err error
		n := allocated(func() { _, err = r.next() })
		if err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if n > uint64(c.most)+bufferSize+(64<<10) {
			t.Errorf("%d of %d bytes came, and %d bytes of memory were taken", c.sent, claimed, n)
		}
	}
	p := Packet{Payload: pattern(claimed, 5)}
	data := wireOf(t, &p)
	r := newTestReader(&choppedConn{data: data}, claimed)
	if n := allocated(func() { wantNext(t, r, &p) }); n > 3*claimed {
		t.Errorf("reading %d bytes takes %d bytes of memory", claimed, n)
	}
}

// TestReaderSeveral reads several packets with one read of the transport.
func TestReaderSeveral(t *testing.T) {
	p := Packet{Code: "p", Payload: pattern(100, 1)}
	conn := &choppedConn{data: bytes.Repeat(wireOf(t, &p), 50)}
	r := newTestReader(conn, 100)
	waits := 0
	r.wait = func() { waits++ }
	for range 50 {
		wantNext(t, r, &p)
	}
	if waits != 1 || r.buffered() != 0 {
		t.Errorf("%d waits for 50 packets, %d bytes are left", waits, r.buffered())
	}
}

// TestReaderWaitsForLarge checks that wait, with which a connection writes its answers, is called
// before the rest of a large payload is waited for, and sees that a packet has begun.
func TestReaderWaitsForLarge(t *testing.T) {
	p := Packet{Code: "p", Payload: pattern(largeBody, 1)}
	data := wireOf(t, &p)
	for _, first := range []int{len(data) - largeBody, len(data) - 1} {
		near, far := transport.Pipe(nil)
		if _, err := near.Write(data[:first]); err != nil {
			t.Fatal(err)
		}
		r := newTestReader(far, largeBody)
		r.wait = func() {
			if r.buffered() == 0 {
				return // nothing has come yet
			}
			near.Write(data[first:])
			near.CloseWrite()
		}
		wantNext(t, r, &p)
		far.Close()
		near.Close()
	}
}

// tcpPair returns both ends of a TCP connection, which the test closes.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		near.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// TestReaderIdle checks on a socket that a reader that waits for a packet holds no buffer, and
// that one in the middle of a packet keeps it.
func TestReaderIdle(t *testing.T) {
	near, far := tcpPair(t)
	r := newTestReader(far, 1<<20)
	if r.raw == nil {
		t.Log("sockets can't be waited for without a buffer here")
		return
	}
	idle := make(chan struct{}, 1)
	give := r.put
	r.put = func(b []byte) { // the system says that nothing is there
		give(b)
		if r.buf != nil {
			t.Error("the buffer wasn't given back")
		}
		select {
		case idle <- struct{}{}:
		default:
		}
	}
	for i, n := range []int{0, 100, largeBody} {
		p := Packet{Sequence: uint16(i), Code: "p", Payload: pattern(n, i)}
		data := wireOf(t, &p)
		got := make(chan error, 1)
		go func() {
			q, err := r.next()
			if err == nil && !bytes.Equal(q.payload, p.Payload) {
				err = errors.New("the payload is another")
			}
			got <- err
		}()
		within(t, idle)
		if _, err := near.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := within(t, got); err != nil {
			t.Fatal(err)
		}
	}
	if r.buf == nil {
		t.Error("the buffer, which the last code is in, is gone")
	}
	r.release()
	if r.buf != nil {
		t.Error("release keeps the buffer")
	}
}

// TestBuffers checks that only buffers of the one size come back.
func TestBuffers(t *testing.T) {
	var b buffers
	b.put(make([]byte, 10))
	b.put(make([]byte, 0, 2*bufferSize))
	b.put(nil)
	p := b.get()
	if len(p) != bufferSize || cap(p) != bufferSize {
		t.Errorf("a buffer of %d bytes, capacity %d", len(p), cap(p))
	}
	b.put(p[:0])
	if p := b.get(); len(p) != bufferSize {
		t.Errorf("a buffer of %d bytes", len(p))
	}
}

// emptyConn is a connection whose Read returns nothing, and no error.
type emptyConn struct{ choppedConn }

func (*emptyConn) Read([]byte) (int, error) { return 0, nil }

func TestReaderNoProgress(t *testing.T) {
	if _, err := newTestReader(&emptyConn{}, 10).next(); err != io.ErrNoProgress {
		t.Errorf("%v", err)
	}
}

// TestReaderEmptyReads has some reads come back with nothing, as those of a connection
// that wraps another may.
func TestReaderEmptyReads(t *testing.T) {
	near, far := transport.Pipe(nil)
	defer near.Close()
	defer far.Close()
	want := Packet{Flag: FlagWait, Sequence: 1, Code: "/x", Payload: []byte("payload")}
	b, err := AppendPacket(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	go near.Write(b)
	wantNext(t, newTestReader(&hesitantConn{Conn: far}, 100), &want)
}

// hesitantConn reads a byte with every third read, and nothing with the others.
type hesitantConn struct {
	net.Conn
	reads int
}

func (c *hesitantConn) Read(b []byte) (int, error) {
	if c.reads++; c.reads%3 != 0 {
		return 0, nil
	}
	return c.Conn.Read(b[:1])
}
