package natsbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// piped returns a writer and its peer, to which nothing is written before it reads. The writer is closed with the test.
func piped(t *testing.T) (*writer, net.Conn) {
	t.Helper()
	near, peer := net.Pipe()
	w := &writer{Conn: near, timeout: time.Minute}
	t.Cleanup(func() {
		peer.Close()
		w.Close()
	})
	return w, peer
}

// reads has the peer read one Write, and returns it.
func reads(t *testing.T, peer net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := peer.Read(b)
	if err != nil {
		t.Error(err)
	}
	return string(b[:n])
}

// writes writes each of texts, as nats.go does.
func writes(t *testing.T, w *writer, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_ = w.SetWriteDeadline(time.Now().Add(w.timeout))
		if n, err := w.Write([]byte(text)); err != nil || n != len(text) {
			t.Errorf("Write: %d, %v", n, err)
		}
		_ = w.SetWriteDeadline(time.Time{})
	}
}

// hears has the writer read something.
func hears(t *testing.T, w *writer, peer net.Conn) {
	t.Helper()
	go func() { _, _ = peer.Write([]byte("x")) }()
	if _, err := w.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// What follows something that was read is written before Write returns, once, with what has gathered; else it is left to the goroutine.
func TestWriterHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, peer := piped(t)
		w.due = true // the goroutine's turn doesn't come
		writes(t, w, "a", "b")
		hears(t, w, peer)
		done := make(chan struct{})
		go func() {
			defer close(done)
			writes(t, w, "c", "d")
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("what followed something read was left to the goroutine")
		default:
		}
		if got := reads(t, peer); got != "abc" {
			t.Errorf("written at once: %q", got)
		}
		<-done
		go writes(t, w, "") // flushes
		if got := reads(t, peer); got != "d" {
			t.Errorf("flushed: %q", got)
		}
		w.later() // its turn has come
		for _, want := range []string{"e", "f"} {
			writes(t, w, want) // starts one
			if got := reads(t, peer); got != want {
				t.Errorf("written by the goroutine: %q", got)
			}
			synctest.Wait()
		}
	})
}

// What doesn't fit is written by the one who brings it, behind what was there, and isn't kept.
func TestWriterGathersSoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, peer := piped(t)
		w.due = true
		large, rest := strings.Repeat("l", 10*maxGathered), strings.Repeat("r", maxGathered-1)
		go writes(t, w, "a", rest, "b", large, "c")
		for _, want := range []string{"a" + rest, "b", large} {
			if got := reads(t, peer); got != want {
				t.Errorf("%d bytes instead of %d, or others", len(got), len(want))
			}
		}
		synctest.Wait()
		if string(w.gathered) != "c" || cap(w.gathered) > 2*maxGathered {
			t.Errorf("it keeps %q and %d bytes", w.gathered, cap(w.gathered))
		}
	})
}

// A peer that doesn't read ends the connection after the timeout, whatever nats.go sets around its own part of writing, and the next Write says so.
func TestWriterPeerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, heard := range []bool{false, true} {
			w, peer := piped(t)
			begun := time.Now()
			if heard {
				hears(t, w, peer)
				if n, err := w.Write([]byte("a")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write: %d, %v", n, err)
				}
			} else {
				writes(t, w, "a")
				synctest.Wait() // the goroutine is writing
				_, _ = w.SetWriteDeadline(time.Time{}), w.SetDeadline(time.Time{})
			}
			if _, err := w.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) || time.Since(begun) != w.timeout {
				t.Errorf("reading ends after %v with %v", time.Since(begun), err)
			}
			if n, err := w.Write([]byte("b")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the next Write: %d, %v", n, err)
			}
		}
	})
}

// Close writes what has gathered, for closeWait at most, after which nothing is taken any more.
func TestWriterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, listens := range []bool{true, false} {
			w, peer := piped(t)
			w.due = true
			writes(t, w, "a", "b")
			all := make(chan string, 1)
			if listens {
				go func() {
					b, _ := io.ReadAll(peer)
					all <- string(b)
				}()
			}
			begun := time.Now()
			for range 2 {
				_ = w.Close()
			}
			if listens {
				if got := <-all; got != "ab" || time.Since(begun) != 0 {
					t.Errorf("%q was written after %v", got, time.Since(begun))
				}
			} else if took := time.Since(begun); took != closeWait {
				t.Errorf("it took %v", took)
			}
			if _, err := w.Write([]byte("c")); err == nil {
				t.Error("Write after Close")
			}
		}
	})
}

// clocked is a connection that keeps its last deadline for writing.
type clocked struct {
	net.Conn
	deadline atomic.Pointer[time.Time]
}

func (c *clocked) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

// What is being written when Close comes has closeWait, not the timeout, and isn't lost.
func TestWriterCloseWhileItWrites(t *testing.T) {
	w, peer := piped(t)
	conn := &clocked{Conn: w.Conn}
	w.Conn = conn
	writes(t, w, "ab")
	if _, err := peer.Read(make([]byte, 1)); err != nil { // so the goroutine is writing
		t.Fatal(err)
	}
	_ = w.SetWriteDeadline(time.Now()) // as crypto/tls does before
	go w.Close()
	eventually(t, "shorter deadline", func(context.Context) bool { return time.Until(*conn.deadline.Load()) <= closeWait })
	if rest, err := io.ReadAll(peer); err != nil || string(rest) != "b" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

// numbered writes numbers up to total as nats.go writes messages, one at a time, of which some are large.
type numbered struct {
	mu    sync.Mutex
	next  int
	total int
	conn  net.Conn
}

// write says whether there was one left.
func (n *numbered) write(t *testing.T) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == n.total {
		return false
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(n.next))
	if n.next%1000 == 0 {
		b = bytes.Repeat(b, 2*maxGathered/len(b))
	}
	n.next++
	if _, err := n.conn.Write(b); err != nil {
		t.Error(err)
		return false
	}
	return true
}

// Bytes come in order and all, whoever writes them, while others are read.
func TestWriterOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := (&dialer{inner: &net.Dialer{}, timeout: time.Minute}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.SetDeadline(time.Now().Add(startTime))
	all := &numbered{total: 20_000, conn: conn}
	var work sync.WaitGroup
	work.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	for range 4 {
		work.Go(func() {
			for all.write(t) {
			}
		})
	}
	defer work.Wait()
	defer conn.Close()
	defer peer.Close()
	b, last := make([]byte, 4), 0
	for n := 0; last < all.total-1; n++ {
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatalf("after %d: %v", last, err)
		}
		got := int(binary.BigEndian.Uint32(b))
		if got != last && got != last+1 {
			t.Fatalf("%d comes after %d", got, last)
		}
		if last = got; n%50 == 0 {
			if _, err := peer.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}
