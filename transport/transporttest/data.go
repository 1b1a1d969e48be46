package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Bytes arrive as they were sent, whatever the sizes of Writes and Reads.
func checkStream(k *kit) {
	a, b := k.connect()
	for i, size := range []int{1, 2, 3, 100, 4095, 4096, 4097, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 20} {
		for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
			sent := make([]byte, size)
			k.fill(sent, i*7919)
			want := bytes.Clone(sent)
			written := make(chan error, 1)
			go func() { written <- write(ends[0], sent) }()
			got := make([]byte, size)
			k.must("Read", func() error { _, err := io.ReadFull(ends[1], got); return err })
			if err := await(k, "Write", written); err != nil {
				k.Fatalf("Write of %d bytes: %v", size, err)
			}
			if !bytes.Equal(got, want) {
				k.Fatalf("of %d bytes byte %d arrived as another", size, differs(got, want))
			}
		}
	}
	k.must("Write of no bytes", func() error { return write(a, nil) })
	k.must("Read of no bytes", func() error { _, err := b.Read(nil); return err })
	k.send(a, "x")
	k.expect(b, "x")
}

// differs returns the first index at which two slices of the same length differ.
func differs(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// Both ends send much at once, each reading while it writes; first each begins with so
// much that no buffer holds it.
func checkBothWays(k *kit) {
	const size, block = 8 << 20, 7777
	a, b := k.connect()
	done := make(chan error, 4)
	for _, c := range []net.Conn{a, b} {
		go func() { done <- k.sendPattern(c, size, block) }()
		go func() { done <- k.readPattern(c, size) }()
	}
	for range cap(done) {
		if err := await(k, "the transfer in both directions at once", done); err != nil {
			k.Fatalf("%v", err)
		}
	}
}

func (k *kit) sendPattern(c net.Conn, size, block int) error {
	b := make([]byte, block)
	for sent := 0; sent < size; {
		part := b[:min(block, size-sent)]
		k.fill(part, sent)
		if err := write(c, part); err != nil {
			return fmt.Errorf("write after %d bytes: %w", sent, err)
		}
		sent += len(part)
	}
	return nil
}

// readPattern reads size bytes of what sendPattern and forever send.
func (k *kit) readPattern(c net.Conn, size int) error {
	b, want := make([]byte, 50_000), make([]byte, 50_000)
	for got := 0; got < size; {
		n, err := c.Read(b[:min(len(b), size-got)])
		k.fill(want[:n], got)
		if !bytes.Equal(b[:n], want[:n]) {
			return fmt.Errorf("byte %d arrived as another", got+differs(b[:n], want[:n]))
		}
		if got += n; err != nil && got < size {
			return fmt.Errorf("read after %d of %d bytes: %w", got, size, err)
		}
	}
	return nil
}

// Concurrent Writes don't mix, even when they exceed every buffer.
func checkWholeWrites(k *kit) {
	const writers, size = 8, 300_000
	a, b := k.connect()
	done := make(chan error, writers)
	for i := range writers {
		go func() {
			block := bytes.Repeat([]byte{byte(i)}, size)
			done <- write(a, block)
		}()
	}
	block := make([]byte, size)
	for range writers {
		k.must("Read", func() error { _, err := io.ReadFull(b, block); return err })
		if i := bytes.IndexFunc(block, func(r rune) bool { return r != rune(block[0]) }); i >= 0 {
			k.Fatalf("two concurrent Writes are mixed: after %d bytes of one comes the other", i)
		}
	}
	for range writers {
		if err := await(k, "Write", done); err != nil {
			k.Errorf("Write: %v", err)
		}
	}
}

// While nobody reads, a Write has to wait; and what it took is not lost.
func checkBackpressure(k *kit) {
	a, b := k.connect()
	k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Now().Add(5 * moment)) })
	var total int
	err := k.do("Write with a deadline", func() (err error) { total, err = k.forever(a); return err })
	if errors.Is(err, errUnbounded) {
		k.Fatalf("Write: %v", err)
	}
	k.wantTimeout("Write", err)
	k.must("reading what was written", func() error { return k.readPattern(b, total) })
	if k.TimeoutEndsWriting {
		return
	}
	k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Time{}) })
	k.send(a, "more")
	k.expect(b, "more")
}

// Packets arrive whole, and nothing else does.
func checkPackets(k *kit) {
	a, b := k.connect()
	sizes := []int{1, 2, k.MaxPacket / 2, k.MaxPacket - 1, k.MaxPacket}
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		for i, size := range sizes {
			k.packet(ends[0], ends[1], i*7919, size)
		}
	}
	if k.Unreliable {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for _, size := range sizes {
			_ = write(a, make([]byte, size))
		}
	})
	left := map[int]int{}
	for _, size := range sizes {
		left[size]++
	}
	for i := range sizes {
		got := k.readPacket(b)
		if left[len(got)]--; left[len(got)] < 0 || !k.Unordered && len(got) != sizes[i] {
			k.Fatalf("packet %d of %v has %d bytes", i, sizes, len(got))
		}
	}
}

// packet sends a packet, until it arrives if it may get lost.
func (k *kit) packet(from, to net.Conn, offset, size int) {
	k.Helper()
	want := make([]byte, size)
	k.fill(want, offset)
	for end := time.Now().Add(k.Patience); ; {
		k.must("Write", func() error { return write(from, bytes.Clone(want)) })
		if k.Unreliable {
			k.must("SetReadDeadline", func() error { return to.SetReadDeadline(time.Now().Add(moment)) })
		}
		got := make([]byte, size+1)
		var n int
		err := k.do("Read", func() (err error) { n, err = to.Read(got); return err })
		switch {
		case k.Unreliable && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end):
			continue
		case err != nil:
			k.Fatalf("Read of a packet: %v", err)
		case bytes.Equal(got[:n], want):
			return
		case !k.Unordered && !k.Unreliable || n != len(want) && !k.older(n):
			k.Fatalf("a packet of %d bytes arrived as another, of %d bytes", size, n)
		}
	}
}

// older reports whether a packet of n bytes may be one of before.
func (k *kit) older(n int) bool { return n > 0 && n <= k.MaxPacket }

// readPacket reads one packet.
func (k *kit) readPacket(c net.Conn) []byte {
	k.Helper()
	b := make([]byte, k.MaxPacket+1)
	var n int
	k.must("Read", func() (err error) { n, err = c.Read(b); return err })
	return b[:n]
}

// A packet that is too long is refused, and the connection goes on.
func checkPacketTooLong(k *kit) {
	a, b := k.connect()
	if err := k.do("Write", func() error { _, err := a.Write(make([]byte, k.MaxPacket+1)); return err }); err == nil {
		k.Errorf("a Write of more than MaxPacket, %d bytes, succeeded", k.MaxPacket)
	}
	k.packet(a, b, 1, min(k.MaxPacket, 100))
}
