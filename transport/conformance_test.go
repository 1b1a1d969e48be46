package transport

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// makePair makes the two ends of a connection, which are closed with the test.
type makePair func(t testing.TB) (a, b net.Conn)

func TestConformanceTCP(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) {
		return connect(t, newTable(t), "127.0.0.1:0")
	})
}

func TestConformanceMem(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) {
		return connect(t, newTable(t, NewMem()), "mem://name")
	})
}

func TestConformancePipe(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) { return pipe(t, &PipeOptions{Buffer: 100}) })
}

// A delayed, sliced connection is slow and otherwise the same.
func TestConformanceSlow(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) {
		x, y := pipe(t, nil)
		for _, c := range []*MemConn{x, y} {
			c.SetDelay(50 * time.Microsecond)
			c.SetChunk(1000)
		}
		return x, y
	})
}

// conformance checks what every net.Conn of a stream has to do.
func conformance(t *testing.T, pair makePair) {
	for _, c := range []struct {
		name string
		test func(*testing.T, net.Conn, net.Conn)
	}{
		{"PingPong", testPingPong},
		{"LargeTransfer", testLargeTransfer},
		{"WholeWrites", testWholeWrites},
		{"PastDeadline", testPastDeadline},
		{"FutureDeadline", testFutureDeadline},
		{"DeadlineWakes", testDeadlineWakes},
		{"DeadlineMoves", testDeadlineMoves},
		{"CloseWakes", testCloseWakes},
		{"AfterClose", testAfterClose},
		{"PeerClose", testPeerClose},
		{"HalfClose", testHalfClose},
		{"ZeroLength", testZeroLength},
		{"Addresses", testAddresses},
		{"Racy", testRacy},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			c.test(t, a, b)
		})
	}
}

func testPingPong(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.CopyN(b, b, 100*4) })
	for range 100 {
		send(t, a, "ping")
		expect(t, a, "ping")
	}
	wg.Wait()
}

// Both ends send and receive a large amount at once.
func testLargeTransfer(t *testing.T, a, b net.Conn) {
	const size = 1 << 20
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, c := range []net.Conn{a, b} {
		source := rand.NewChaCha8([32]byte{byte(i)})
		wg.Go(func() {
			if _, err := io.CopyBuffer(struct{ io.Writer }{c}, io.LimitReader(source, size), make([]byte, 7777)); err != nil {
				t.Error(err)
			}
		})
	}
	for i, c := range []net.Conn{b, a} {
		source := rand.NewChaCha8([32]byte{byte(i)})
		wg.Go(func() {
			if got, want := sum(t, c, size), sum(t, source, size); got != want {
				t.Errorf("direction %d: other bytes were received than sent", i)
			}
		})
	}
}

func sum(t *testing.T, r io.Reader, size int64) [sha256.Size]byte {
	h := sha256.New()
	if n, err := io.CopyN(h, r, size); err != nil {
		t.Errorf("got %d bytes: %v", n, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Concurrent Writes don't mix, even when they exceed every buffer.
func testWholeWrites(t *testing.T, a, b net.Conn) {
	const writers, size = 8, 40_000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			block := make([]byte, size)
			for j := range block {
				block[j] = byte(i)
			}
			if _, err := a.Write(block); err != nil {
				t.Error(err)
			}
		})
	}
	block := make([]byte, size)
	for range writers {
		if _, err := io.ReadFull(b, block); err != nil {
			t.Fatal(err)
		}
		for _, x := range block {
			if x != block[0] {
				t.Fatal("two Writes are mixed")
			}
		}
	}
	wg.Wait()
}

func wantTimeout(t testing.TB, what string, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%s: %v, want os.ErrDeadlineExceeded", what, err)
	}
}

func wantClosed(t testing.TB, what string, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
		t.Errorf("%s: %v, want net.ErrClosed in a *net.OpError", what, err)
	}
}

// Deadlines in the past and at present stop everything at once, until cleared.
func testPastDeadline(t *testing.T, a, b net.Conn) {
	send(t, b, "x")
	for _, ago := range []time.Duration{0, time.Nanosecond, time.Hour} {
		must(t, a.SetDeadline(time.Now().Add(-ago)))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, "read", err)
		_, err = a.Write([]byte("y"))
		wantTimeout(t, "write", err)
	}
	must(t, a.SetReadDeadline(time.Time{}))
	expect(t, a, "x")
	_, err := a.Write([]byte("y"))
	wantTimeout(t, "write", err)
	must(t, a.SetWriteDeadline(time.Time{}))
	send(t, a, "z")
	expect(t, b, "z")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forever writes until that fails.
func forever(c net.Conn) error {
	b := make([]byte, 1<<16)
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

func testFutureDeadline(t *testing.T, a, _ net.Conn) {
	const wait = 5 * time.Millisecond
	start := time.Now()
	must(t, a.SetDeadline(start.Add(wait)))
	_, err := a.Read(make([]byte, 1))
	wantTimeout(t, "read", err)
	wantTimeout(t, "write", forever(a))
	if took := time.Since(start); took < wait {
		t.Errorf("ended after %v, before the deadline", took)
	}
}

// Setting a deadline reaches those who wait already.
func testDeadlineWakes(t *testing.T, a, _ net.Conn) {
	done := make(chan error, 2)
	go func() { _, err := a.Read(make([]byte, 1)); done <- err }()
	go func() { done <- forever(a) }()
	must(t, a.SetDeadline(time.Now().Add(time.Millisecond)))
	wantTimeout(t, "first", <-done)
	wantTimeout(t, "second", <-done)
}

// A deadline that is moved on doesn't come when it first would have. The other
// end's deadline tells when that time has passed.
func testDeadlineMoves(t *testing.T, a, b net.Conn) {
	soon := time.Now().Add(2 * time.Millisecond)
	must(t, a.SetDeadline(soon))
	must(t, a.SetReadDeadline(soon.Add(time.Hour)))
	must(t, a.SetWriteDeadline(time.Time{}))
	must(t, b.SetReadDeadline(soon.Add(3*time.Millisecond)))
	_, err := b.Read(make([]byte, 1))
	wantTimeout(t, "read", err)
	must(t, b.SetReadDeadline(time.Time{}))
	send(t, b, "late")
	expect(t, a, "late")
	send(t, a, "later")
	expect(t, b, "later")
}

func testCloseWakes(t *testing.T, a, _ net.Conn) {
	done := make(chan error, 3)
	go func() { _, err := a.Read(make([]byte, 1)); done <- err }()
	go func() { done <- forever(a) }()
	go func() { done <- forever(a) }()
	must(t, a.Close())
	for range cap(done) {
		wantClosed(t, "a pending operation", <-done)
	}
}

func testAfterClose(t *testing.T, a, _ net.Conn) {
	must(t, a.Close())
	_, err := a.Read(make([]byte, 1))
	wantClosed(t, "read", err)
	_, err = a.Write([]byte("x"))
	wantClosed(t, "write", err)
	wantClosed(t, "SetDeadline", a.SetDeadline(time.Now()))
	wantClosed(t, "SetReadDeadline", a.SetReadDeadline(time.Now()))
	wantClosed(t, "SetWriteDeadline", a.SetWriteDeadline(time.Now()))
	wantClosed(t, "CloseWrite", a.(closeWriter).CloseWrite())
	wantClosed(t, "Close", a.Close())
}

type closeWriter interface{ CloseWrite() error }

// What was written before Close is read, then the end; writing back fails.
func testPeerClose(t *testing.T, a, b net.Conn) {
	send(t, a, "last words")
	must(t, a.Close())
	expectEnd(t, b, "last words", nil)
	if err := forever(b); !isBroken(err) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

func testHalfClose(t *testing.T, a, b net.Conn) {
	send(t, a, "question")
	must(t, a.(closeWriter).CloseWrite())
	if _, err := a.Write([]byte("x")); !isBroken(err) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	expectEnd(t, b, "question", nil)
	send(t, b, "answer")
	must(t, b.Close())
	expectEnd(t, a, "answer", nil)
}

func testZeroLength(t *testing.T, a, b net.Conn) {
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("read of no bytes: %d, %v", n, err)
	}
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("write of no bytes: %d, %v", n, err)
	}
	send(t, a, "x")
	expect(t, b, "x")
}

func testAddresses(t *testing.T, a, b net.Conn) {
	for _, c := range []net.Conn{a, b} {
		if c.LocalAddr().Network() == "" || c.LocalAddr().String() == "" {
			t.Errorf("local address %v", c.LocalAddr())
		}
	}
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("%v-%v on one end, %v-%v on the other", a.LocalAddr(), a.RemoteAddr(), b.RemoteAddr(), b.LocalAddr())
	}
}

// Everything at once, for the race detector; nothing may hang.
func testRacy(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b, a, b} {
		wg.Go(func() {
			for range 100 {
				_, _ = c.Write(make([]byte, 1024))
			}
		})
		wg.Go(func() {
			buf := make([]byte, 700)
			for range 200 {
				_, _ = c.Read(buf)
			}
		})
		wg.Go(func() {
			for i := range 200 {
				_ = c.SetReadDeadline(time.Now().Add(time.Duration(i%3) * time.Millisecond))
				_ = c.SetWriteDeadline(time.Now().Add(time.Duration(i%2) * time.Millisecond))
			}
			_ = c.SetDeadline(time.Now())
		})
	}
	wg.Wait()
	must(t, a.Close())
	must(t, b.Close())
}
