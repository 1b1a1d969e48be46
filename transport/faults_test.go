package transport

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// arrival reads text and tells when, since start, it had come.
func arrival(t *testing.T, c *MemConn, text string, start time.Time, want time.Duration) {
	t.Helper()
	expect(t, c, text)
	if got := time.Since(start); got != want {
		t.Errorf("%q arrived after %v, want %v", text, got, want)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		start := time.Now()
		a.SetDelay(time.Second)
		send(t, a, "a")
		send(t, a, "b")
		<-time.After(500 * time.Millisecond)
		send(t, a, "c")
		a.SetDelay(-time.Second)
		send(t, a, "d") // undelayed, but it overtakes nothing
		must(t, a.CloseWrite())
		send(t, b, "x") // the other direction has no delay
		arrival(t, a, "x", start, 500*time.Millisecond)
		arrival(t, b, "ab", start, time.Second)
		arrival(t, b, "cd", start, 1500*time.Millisecond)
		expectEnd(t, b, "", nil)
		arrival(t, b, "", start, 1500*time.Millisecond)
	})
}

// The end of the data takes its time too, and outlives the end that sent it.
func TestDelayedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		start := time.Now()
		a.SetDelay(time.Second)
		send(t, a, "bye")
		must(t, a.Close())
		send(t, b, "not yet refused")
		expectEnd(t, b, "bye", nil)
		arrival(t, b, "", start, time.Second)
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write once the news has come: %v", err)
		}
	})
}

// What is in flight counts against the buffer.
func TestDelayBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 2})
		a.SetDelay(time.Second)
		start := time.Now()
		write := goWriteAll(a, "abcd")
		arrival(t, b, "ab", start, time.Second)
		arrival(t, b, "cd", start, 2*time.Second)
		must(t, <-write)
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 8})
		send(t, a, "in")
		a.SetPartition(true)
		send(t, a, "held")
		expect(t, b, "in")
		read, write := goRead(b), goWriteAll(a, "12345")
		<-time.After(time.Hour)
		wantPending(t, "read in a partition", read, errPending)
		wantPending(t, "write into a full buffer", write, errPending)
		a.SetPartition(false)
		synctest.Wait()
		wantPending(t, "read", read, nil)
		expect(t, b, "eld12345")
		must(t, <-write)
	})
}

func goWriteAll(c io.Writer, text string) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := io.WriteString(c, text); done <- err }()
	return done
}

// Nobody learns of a Close in a partition: writes go on until the buffer is full.
func TestPartitionHidesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 3})
		a.SetPartition(true)
		must(t, a.Close())
		read, write := goRead(b), goWriteAll(b, "abcd")
		<-time.After(time.Hour)
		wantPending(t, "read", read, errPending)
		wantPending(t, "write", write, errPending)
		a.SetPartition(false)
		synctest.Wait()
		wantPending(t, "read", read, nil)
		wantPending(t, "write", write, syscall.ECONNRESET)
	})
}

// A delay goes on during a partition, and what is left of it is kept.
func TestPartitionWithDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		start := time.Now()
		a.SetDelay(3 * time.Second)
		send(t, a, "first")
		a.SetPartition(true)
		<-time.After(2 * time.Second)
		send(t, a, "second")
		<-time.After(2 * time.Second)
		a.SetPartition(false)
		arrival(t, b, "first", start, 4*time.Second)
		arrival(t, b, "second", start, 5*time.Second)
	})
}

func TestChunk(t *testing.T) {
	a, b := pipe(t, nil)
	a.SetChunk(2)
	send(t, a, "abcde")
	send(t, b, "wxyz")
	buf := make([]byte, 10)
	for _, want := range []string{"ab", "cd", "e"} {
		if n, err := b.Read(buf); string(buf[:n]) != want || err != nil {
			t.Errorf("read %q, %v, want %q", buf[:n], err, want)
		}
	}
	a.SetChunk(0)
	send(t, a, "abcde")
	if n, err := b.Read(buf); n != 5 || err != nil {
		t.Errorf("read %d bytes, %v, want all 5", n, err)
	}
	if n, err := a.Read(buf); n != 4 || err != nil {
		t.Errorf("the other direction: read %d bytes, %v, want all 4", n, err)
	}
}

// A slow line: what is sent arrives little by little, and the writer is slowed down.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, &PipeOptions{Buffer: 300})
		start := time.Now()
		a.SetRate(200)
		write := goWriteAll(a, strings.Repeat("x", 500))
		buf := make([]byte, 500)
		if n, err := b.Read(buf); n != 2 || err != nil || time.Since(start) != 10*time.Millisecond {
			t.Errorf("the first %d bytes after %v: %v", n, time.Since(start), err)
		}
		wantPending(t, "write into a full buffer", write, errPending)
		arrival(t, b, strings.Repeat("x", 198), start, time.Second)
		arrival(t, b, strings.Repeat("x", 300), start, 2500*time.Millisecond)
		must(t, <-write)
		send(t, a, "y") // the line was free by now
		arrival(t, b, "y", start, 2505*time.Millisecond)
		a.SetRate(1)
		a.SetDelay(time.Minute)
		send(t, a, "zz")
		a.SetRate(0)
		must(t, a.CloseWrite())
		start = time.Now()
		arrival(t, b, "z", start, time.Minute+time.Second)
		arrival(t, b, "z", start, time.Minute+2*time.Second)
		expectEnd(t, b, "", nil)
	})
}

// The cut counts what a slow line has carried.
func TestRateCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		start := time.Now()
		a.SetRate(1000)
		a.CloseAfter(15)
		send(t, a, strings.Repeat("x", 100))
		expectEnd(t, b, strings.Repeat("x", 15), syscall.ECONNRESET)
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("cut after %v", d)
		}
	})
}

func TestPeer(t *testing.T) {
	a, b := pipe(t, nil)
	if a.Peer() != b || b.Peer() != a {
		t.Error("the peer of an end isn't the other end")
	}
}

// The cut comes at every byte of a write, and both ends see it.
func TestCloseAfter(t *testing.T) {
	const text = "packet"
	for at := range len(text) + 1 {
		a, b := pipe(t, &PipeOptions{Buffer: 4})
		send(t, b, "kept")
		a.CloseAfter(int64(at))
		write := goWriteAll(a, text)
		expectEnd(t, b, text[:at], syscall.ECONNRESET)
		if err := <-write; at < len(text) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut at %d: write: %v", at, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut at %d: write at the other end: %v", at, err)
		}
		expectEnd(t, a, "kept", syscall.ECONNRESET)
	}
}

func TestCloseAfterCounts(t *testing.T) {
	a, b := pipe(t, nil)
	a.CloseAfter(5)
	if n, err := a.Write([]byte("abc")); n != 3 || err != nil {
		t.Errorf("before the cut: %d, %v", n, err)
	}
	n, err := a.TryWrite([]byte("defg"))
	if n != 2 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("across the cut: %d, %v, want 2 and ECONNRESET", n, err)
	}
	a.CloseAfter(-1) // too late
	expectEnd(t, b, "abcde", syscall.ECONNRESET)
}

func TestCloseAfterTakenBack(t *testing.T) {
	a, b := pipe(t, nil)
	a.CloseAfter(1)
	a.CloseAfter(-7)
	send(t, a, "all")
	must(t, a.Close())
	expectEnd(t, b, "all", nil)
}

// With a delay the cut comes when the byte arrives, and what is behind it in
// flight, in both directions, is lost.
func TestCloseAfterDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		a.SetDelay(time.Second)
		b.SetDelay(time.Hour)
		a.CloseAfter(2)
		send(t, a, "abc")
		send(t, a, "def")
		send(t, b, "lost")
		must(t, a.CloseWrite())
		expectEnd(t, b, "ab", syscall.ECONNRESET)
		expectEnd(t, a, "", syscall.ECONNRESET)
	})
}

func TestReset(t *testing.T) {
	a, b := pipe(t, nil)
	a.SetDelay(time.Hour)
	a.SetPartition(true)
	send(t, a, "held")
	send(t, b, "lost")
	a.Reset()
	a.SetPartition(false)
	for _, c := range []*MemConn{a, b} {
		expectEnd(t, c, "", syscall.ECONNRESET)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
		must(t, c.Close())
	}
}

// Closing both ends leaves no timer, whichever closes first.
func TestNoTimerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, nil)
		for _, c := range []*MemConn{a, b} {
			c.SetDelay(time.Hour)
			must(t, c.SetDeadline(time.Now().Add(time.Hour)))
			send(t, c, "x")
		}
		must(t, a.Close())
		send(t, b, "into the void")
		must(t, b.Close())
		for _, h := range []*half{a.in, a.out} {
			if h.timer.Stop() || h.bytes.buf != nil {
				t.Error("a timer or memory was left")
			}
		}
		for _, c := range []*MemConn{a, b} {
			if c.readTime.timer != nil || c.writeTime.timer != nil {
				t.Error("a deadline's timer was left")
			}
		}
	})
}
