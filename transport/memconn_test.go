package transport

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

// pipe is Pipe with both ends closed when the test ends.
func pipe(t testing.TB, opts *PipeOptions) (a, b *MemConn) {
	a, b = Pipe(opts)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// fill writes to a until its buffer is full, and returns how much that took.
func fill(t *testing.T, a TryWriter) int {
	t.Helper()
	total := 0
	for {
		n, err := a.TryWrite(make([]byte, 1000))
		must(t, err)
		if n == 0 {
			return total
		}
		total += n
	}
}

func TestPipeBuffer(t *testing.T) {
	for _, c := range []struct {
		opts *PipeOptions
		want int
	}{
		{nil, DefaultPipeBuffer},
		{&PipeOptions{}, DefaultPipeBuffer},
		{&PipeOptions{Buffer: -1}, DefaultPipeBuffer},
		{&PipeOptions{Buffer: 1}, 1},
		{&PipeOptions{Buffer: 1234}, 1234},
	} {
		a, b := pipe(t, c.opts)
		if got := fill(t, a); got != c.want {
			t.Errorf("%+v: holds %d bytes, want %d", c.opts, got, c.want)
		}
		if got := fill(t, b); got != c.want {
			t.Errorf("%+v: the other direction holds %d bytes, want %d", c.opts, got, c.want)
		}
	}
}

func TestTryWrite(t *testing.T) {
	a, b := pipe(t, &PipeOptions{Buffer: 4})
	for _, c := range []struct {
		b    string
		want int
	}{{"ab", 2}, {"", 0}, {"cdef", 2}, {"e", 0}} {
		if n, err := a.TryWrite([]byte(c.b)); n != c.want || err != nil {
			t.Errorf("TryWrite(%q) = %d, %v, want %d", c.b, n, err, c.want)
		}
	}
	expect(t, b, "abcd")
	must(t, a.SetWriteDeadline(time.Now()))
	_, err := a.TryWrite([]byte("x"))
	wantTimeout(t, "TryWrite", err)
	must(t, a.Close())
	_, err = a.TryWrite([]byte("x"))
	wantClosed(t, "TryWrite", err)
}

// A Write waits for room, a TryWrite beside it takes nothing, and another Write
// waits its turn.
func TestWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 4})
		first := goWriteAll(a, "abcdef")
		synctest.Wait()
		second := goWriteAll(a, "gh")
		synctest.Wait()
		expect(t, b, "a")
		synctest.Wait()
		if n, err := a.TryWrite([]byte("x")); n != 0 || err != nil {
			t.Errorf("TryWrite beside a Write: %d, %v", n, err)
		}
		wantPending(t, "write", first, errPending)
		expect(t, b, "bc") // all of the first write is in
		synctest.Wait()
		wantPending(t, "write", first, nil)
		expect(t, b, "defgh")
		must(t, <-second)
	})
}

// Whatever is blocked, durably, an event at either end wakes it, with this error.
func TestWakes(t *testing.T) {
	for _, c := range []struct {
		name        string
		event       func(a, b *MemConn)
		read, write error
	}{
		{"close", func(a, _ *MemConn) { a.Close() }, net.ErrClosed, net.ErrClosed},
		{"peer closes", func(_, b *MemConn) { b.Close() }, nil, syscall.ECONNRESET},
		{"close write", func(a, _ *MemConn) { _ = a.CloseWrite() }, errPending, syscall.EPIPE},
		{"reset", func(a, _ *MemConn) { a.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		{"peer resets", func(_, b *MemConn) { b.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		{"cut", func(a, _ *MemConn) { a.CloseAfter(0) }, syscall.ECONNRESET, syscall.ECONNRESET},
		{"read deadline", func(a, _ *MemConn) { _ = a.SetReadDeadline(time.Now()) }, errTimeout, errPending},
		{"write deadline", func(a, _ *MemConn) { _ = a.SetWriteDeadline(time.Unix(1, 0)) }, errPending, errTimeout},
		{"far deadline", func(a, _ *MemConn) { _ = a.SetDeadline(time.Now().Add(time.Hour)) }, errTimeout, errTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe(t, nil)
				fill(t, a)
				read, first, second := goRead(a), goWrite(a), goWrite(a)
				synctest.Wait()
				c.event(a, b)
				if c.name == "far deadline" {
					<-time.After(time.Hour)
				}
				synctest.Wait()
				wantPending(t, "read", read, c.read)
				wantPending(t, "write", first, c.write)
				wantPending(t, "waiting write", second, c.write)
			})
		})
	}
}

var (
	errPending = errors.New("still waiting")
	errTimeout = errors.New("deadline")
)

// goRead reads one byte in the background; the end of the data counts as nil.
func goRead(c net.Conn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		if err != nil && err.Error() == "EOF" {
			err = nil
		}
		done <- err
	}()
	return done
}

func goWrite(c net.Conn) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := c.Write([]byte("x")); done <- err }()
	return done
}

// wantPending checks how a background operation stands.
func wantPending(t *testing.T, what string, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if want == errTimeout {
			wantTimeout(t, what, err)
		} else if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	default:
		if want != errPending {
			t.Errorf("%s still waits, want %v", what, want)
		}
	}
}

// Close writes nothing beyond what it accepted, and the waiting Write says how
// much that was.
func TestCloseDuringWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 3})
		done := make(chan int)
		go func() { n, _ := a.Write([]byte("abcdef")); done <- n }()
		synctest.Wait()
		must(t, a.Close())
		if n := <-done; n != 3 {
			t.Errorf("Write says %d bytes, want 3", n)
		}
		expectEnd(t, b, "abc", nil)
	})
}

// A timer that comes late, when the deadline has been set anew, expires nothing.
func TestStaleDeadline(t *testing.T) {
	a, b := pipe(t, nil)
	must(t, a.SetReadDeadline(time.Now().Add(time.Hour)))
	stale := a.readTime.set
	must(t, a.SetReadDeadline(time.Now().Add(time.Hour)))
	a.readTime.expire(&a.in.readable, stale)
	send(t, b, "x")
	expect(t, a, "x")
	a.readTime.expire(&a.in.readable, a.readTime.set)
	_, err := a.Read(make([]byte, 1))
	wantTimeout(t, "read", err)
}

// A deadline is over when its time has come, though its timer is late.
func TestLateTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		must(t, a.SetDeadline(time.Now().Add(time.Second)))
		a.readTime.timer.Stop()
		a.writeTime.timer.Stop()
		send(t, b, "x")
		time.Sleep(time.Second)
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, "read", err)
		_, err = a.Write([]byte("x"))
		wantTimeout(t, "write", err)
		must(t, a.SetDeadline(time.Time{}))
		expect(t, a, "x")
	})
}

func TestCloseWriteAgain(t *testing.T) {
	a, _ := pipe(t, nil)
	must(t, a.CloseWrite())
	must(t, a.CloseWrite())
	a.Reset()
	if err := a.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("CloseWrite after Reset: %v", err)
	}
}

// A half-closed connection that is closed still tells the writer at once.
func TestCloseAfterCloseWrite(t *testing.T) {
	a, b := pipe(t, nil)
	must(t, a.CloseWrite())
	send(t, b, "x")
	must(t, a.Close())
	if _, err := b.Write([]byte("y")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	a, b := pipe(t, nil)
	buf := make([]byte, 512)
	allocs := memorytest.AllocsPerRun(100, func() {
		_, _ = a.TryWrite(buf)
		_, _ = b.Read(buf)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a write and a read", allocs)
	}
}

func BenchmarkMemConn(b *testing.B) {
	x, y := pipe(b, nil)
	buf := make([]byte, 512)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = x.Write(buf)
		_, _ = y.Read(buf)
	}
}
