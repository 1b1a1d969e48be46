//go:build unix

package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

// buffers is a pool of one kind of buffer that counts what is out.
type buffers struct {
	size int
	free [][]byte
	out  int
}

func (p *buffers) get() []byte {
	p.out++
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, p.size)
}

func (p *buffers) put(b []byte) {
	p.out--
	p.free = append(p.free, b)
}

func rawOf(t testing.TB, c net.Conn) *RawConn {
	t.Helper()
	r, ok := Raw(c)
	if !ok {
		t.Fatalf("no RawConn for %T", c)
	}
	return r
}

// unixPair makes a connection over a Unix socket.
func unixPair(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { a.Close() })
	b, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return a, b
}

func tcpPair(t testing.TB) (a, b net.Conn) { return connect(t, newTable(t), "127.0.0.1:0") }

func TestRaw(t *testing.T) {
	for _, c := range []struct {
		name string
		pair makePair
	}{{"tcp", tcpPair}, {"unix", unixPair}} {
		for _, test := range []struct {
			name string
			run  func(*testing.T, net.Conn, net.Conn)
		}{
			{"RoundTrip", testRawRoundTrip},
			{"Full", testRawFull},
			{"ReadWaits", testRawReadWaits},
			{"Deadlines", testRawDeadlines},
			{"Close", testRawClose},
			{"PeerGone", testRawPeerGone},
			{"NoBuffer", testRawNoBuffer},
			{"LargeTransfer", testRawLargeTransfer},
			{"NoAllocations", testRawNoAllocations},
			{"WaitReadable", testRawWaitReadable},
			{"WaitReadableEnds", testRawWaitReadableEnds},
		} {
			t.Run(c.name+"/"+test.name, func(t *testing.T) {
				a, b := c.pair(t)
				test.run(t, a, b)
			})
		}
	}
}

func testRawRoundTrip(t *testing.T, a, b net.Conn) {
	w, r, pool := rawOf(t, a), rawOf(t, b), buffers{size: 4}
	if n, err := w.TryWrite(nil); n != 0 || err != nil {
		t.Errorf("TryWrite of nothing: %d, %v", n, err)
	}
	if n, err := w.TryWrite([]byte("abcdef")); n != 6 || err != nil {
		t.Fatalf("TryWrite: %d, %v", n, err)
	}
	for _, want := range []string{"abcd", "ef"} {
		buf, n, err := r.Read(pool.get, pool.put)
		if err != nil || string(buf[:n]) != want || pool.out != 1 {
			t.Fatalf("read %q, %v with %d buffers out, want %q with 1", buf[:n], err, pool.out, want)
		}
		pool.put(buf)
	}
	must(t, a.(closeWriter).CloseWrite())
	wantRead(t, r, io.EOF)
	send(t, b, "back") // the net.Conn goes on to work
	expect(t, a, "back")
}

// wantRead reads, and wants that error and no buffer left out.
func wantRead(t *testing.T, r *RawConn, want error) {
	t.Helper()
	pool := buffers{size: 4}
	buf, n, err := r.Read(pool.get, pool.put)
	if !errors.Is(err, want) || buf != nil || n != 0 || pool.out != 0 {
		t.Errorf("read %q (%d), %v with %d buffers out, want %v", buf, n, err, pool.out, want)
	}
}

// When the socket is full TryWrite takes a part, then nothing, and never waits.
func testRawFull(t *testing.T, a, b net.Conn) {
	w, block, total := rawOf(t, a), bytes.Repeat([]byte("x"), 1<<20), 0
	for {
		n, err := w.TryWrite(block)
		must(t, err)
		if n == 0 {
			break
		}
		total += n
	}
	must(t, a.Close())
	if n, err := io.Copy(io.Discard, b); n != int64(total) || err != nil {
		t.Errorf("%d bytes arrived: %v, TryWrite took %d", n, err, total)
	}
}

// A Read that waits holds no buffer.
func testRawReadWaits(t *testing.T, a, b net.Conn) {
	pool := &buffers{size: 8}
	waiting, done := goRawRead(rawOf(t, b), pool)
	if held := <-waiting; held != 0 {
		t.Errorf("%d buffers out while waiting", held)
	}
	send(t, a, "late")
	must(t, <-done)
	if pool.out != 1 {
		t.Errorf("%d buffers out after a Read, want 1", pool.out)
	}
}

// goRawRead reads in the background. waiting tells, once, that the Read has found
// nothing, and how many buffers it holds.
func goRawRead(r *RawConn, pool *buffers) (waiting <-chan int, done <-chan error) {
	waits, ends := make(chan int, 1), make(chan error, 1)
	put := func(b []byte) {
		pool.put(b)
		select {
		case waits <- pool.out:
		default:
		}
	}
	go func() { _, _, err := r.Read(pool.get, put); ends <- err }()
	return waits, ends
}

func testRawDeadlines(t *testing.T, a, _ net.Conn) {
	r := rawOf(t, a)
	must(t, a.SetDeadline(time.Unix(1, 0)))
	_, err := r.TryWrite([]byte("x"))
	wantTimeout(t, "TryWrite", err)
	wantRead(t, r, os.ErrDeadlineExceeded)
	must(t, a.SetDeadline(time.Now().Add(time.Millisecond)))
	wantRead(t, r, os.ErrDeadlineExceeded) // waits for it
	must(t, a.SetDeadline(time.Time{}))
	if n, err := r.TryWrite([]byte("x")); n != 1 || err != nil {
		t.Errorf("TryWrite without a deadline: %d, %v", n, err)
	}
}

func testRawClose(t *testing.T, a, _ net.Conn) {
	r := rawOf(t, a)
	waiting, done := goRawRead(r, &buffers{size: 4})
	<-waiting
	must(t, a.Close())
	wantClosed(t, "a pending Read", <-done)
	wantRead(t, r, net.ErrClosed)
	_, err := r.TryWrite([]byte("x"))
	wantClosed(t, "TryWrite", err)
	if r, ok := Raw(a); ok || r != nil {
		t.Error("a closed connection has a RawConn")
	}
}

// The errors carry what package net's carry.
func testRawPeerGone(t *testing.T, a, b net.Conn) {
	w := rawOf(t, a)
	if c, ok := b.(*net.TCPConn); ok {
		must(t, c.SetLinger(0)) // closing resets
	}
	must(t, b.Close())
	var err error
	for range 1000 {
		if _, err = w.TryWrite([]byte("x")); err != nil {
			break
		}
	}
	var op *net.OpError
	if !isBroken(err) || !errors.As(err, &op) || op.Op != "write" || op.Addr.String() != a.RemoteAddr().String() {
		t.Errorf("TryWrite to a closed peer: %v", err)
	}
}

func testRawNoBuffer(t *testing.T, a, b net.Conn) {
	r := rawOf(t, b)
	send(t, a, "x")
	pool := buffers{}
	if _, _, err := r.Read(pool.get, pool.put); !errors.Is(err, io.ErrShortBuffer) || pool.out != 0 {
		t.Errorf("read into no bytes: %v with %d buffers out", err, pool.out)
	}
	if _, ok := b.(*net.TCPConn); ok {
		must(t, a.(*net.TCPConn).SetLinger(0))
		must(t, a.Close())
		expect(t, b, "x")
		wantRead(t, r, syscall.ECONNRESET)
	}
}

// One reader and one writer at once, the writer turning to Write when TryWrite
// takes only a part.
func testRawLargeTransfer(t *testing.T, a, b net.Conn) {
	const size = 8 << 20
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	var wg sync.WaitGroup
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		w, r := rawOf(t, ends[0]), rawOf(t, ends[1])
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				block := rest[:min(len(rest), 100_000)]
				n, err := w.TryWrite(block)
				if err == nil && n < len(block) {
					_, err = ends[0].Write(block[n:])
				}
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[len(block):]
			}
		})
		wg.Go(func() {
			pool, got := buffers{size: 50_000}, make([]byte, 0, size)
			for len(got) < size {
				buf, n, err := r.Read(pool.get, pool.put)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, buf[:n]...)
				pool.put(buf)
			}
			if !bytes.Equal(got, sent) {
				t.Error("other bytes were received than sent")
			}
		})
	}
	wg.Wait()
}

func testRawNoAllocations(t *testing.T, a, b net.Conn) {
	w, r, data := rawOf(t, a), rawOf(t, b), make([]byte, 64)
	pool := &buffers{size: 64, free: make([][]byte, 0, 1)}
	get, put := pool.get, pool.put
	allocs := memorytest.AllocsPerRun(200, func() {
		_, _ = w.TryWrite(data)
		buf, _, _ := r.Read(get, put)
		put(buf)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a TryWrite and a Read", allocs)
	}
}

// goWait waits in the background.
func goWait(r *RawConn) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.WaitReadable() }()
	return done
}

// WaitReadable returns when there is something, also if that was there before, and takes nothing.
func testRawWaitReadable(t *testing.T, a, b net.Conn) {
	r := rawOf(t, b)
	done := goWait(r)
	select {
	case err := <-done:
		t.Fatalf("nothing to read, and WaitReadable returns %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	send(t, a, "abc")
	must(t, <-done)
	must(t, r.WaitReadable())
	expect(t, b, "abc")
	must(t, a.(closeWriter).CloseWrite())
	must(t, r.WaitReadable())
	wantRead(t, r, io.EOF)
}

func testRawWaitReadableEnds(t *testing.T, a, b net.Conn) {
	r := rawOf(t, b)
	done := goWait(r)
	must(t, b.SetReadDeadline(time.Unix(1, 0)))
	wantTimeout(t, "WaitReadable", <-done)
	must(t, b.SetReadDeadline(time.Time{}))
	if c, ok := a.(*net.TCPConn); ok {
		must(t, c.SetLinger(0)) // closing resets
		must(t, a.Close())
		var op *net.OpError
		if err := r.WaitReadable(); !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
			t.Errorf("WaitReadable on a connection that was reset: %v", err)
		}
		wantRead(t, r, io.EOF) // the error was told
		must(t, b.Close())
		wantClosed(t, "WaitReadable", r.WaitReadable())
		return
	}
	done = goWait(r)
	must(t, b.Close())
	wantClosed(t, "WaitReadable", <-done)
}

// Other connections have none: datagrams, and types with a Write of their own.
func TestRawNone(t *testing.T) {
	packets, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer packets.Close()
	a, _ := tcpPair(t)
	m, _ := pipe(t, nil)
	for _, c := range []net.Conn{m, packets.(*net.UnixConn), struct{ *net.TCPConn }{a.(*net.TCPConn)}, &net.TCPConn{}} {
		if r, ok := Raw(c); ok || r != nil {
			t.Errorf("%T has a RawConn", c)
		}
	}
}
