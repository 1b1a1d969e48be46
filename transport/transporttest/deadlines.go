package transporttest

import (
	"errors"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// pasts are how long ago deadlines are that have passed.
func pasts() []time.Duration { return []time.Duration{0, time.Nanosecond, time.Hour} }

func readOne(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return err
}

// A deadline of reading that has passed ends Reads at once, also when there is
// something to read; one to come ends them then; and afterwards reading goes on.
func checkReadDeadline(k *kit) {
	a, b := k.connect()
	if !k.Unreliable {
		k.send(b, "x")
	}
	for _, ago := range pasts() {
		k.must("SetReadDeadline", func() error { return a.SetReadDeadline(time.Now().Add(-ago)) })
		k.wantTimeout("Read", k.do("Read", func() error { return readOne(a) }))
	}
	k.must("SetReadDeadline", func() error { return a.SetReadDeadline(time.Time{}) })
	if !k.Unreliable {
		k.expect(a, "x")
	}
	begun := time.Now()
	k.must("SetDeadline", func() error { return a.SetDeadline(begun.Add(ahead)) })
	k.wantTimeout("Read", k.do("Read", func() error { return readOne(a) }))
	if took := time.Since(begun); took < ahead {
		k.Errorf("Read ended %v after a deadline %v ahead was set", took, ahead)
	}
	k.must("SetDeadline", func() error { return a.SetDeadline(time.Time{}) })
	k.exchange(b, a)
}

// exchange checks that something arrives.
func (k *kit) exchange(from, to net.Conn) {
	k.Helper()
	if k.MaxPacket > 0 {
		k.packet(from, to, 5, min(k.MaxPacket, 10))
		return
	}
	k.send(from, "later")
	k.expect(to, "later")
}

// The same of writing.
func checkWriteDeadline(k *kit) {
	a, b := k.connect()
	for _, ago := range pasts() {
		k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Now().Add(-ago)) })
		k.wantTimeout("Write", k.do("Write", func() error { _, err := a.Write([]byte("x")); return err }))
	}
	if !k.TimeoutEndsWriting {
		k.must("SetDeadline", func() error { return a.SetDeadline(time.Time{}) })
		k.exchange(a, b)
	}
	begun := time.Now()
	k.must("SetWriteDeadline", func() error { return b.SetWriteDeadline(begun.Add(ahead)) })
	err := k.do("Write", func() error { _, err := k.forever(b); return err })
	if errors.Is(err, errUnbounded) {
		k.Fatalf("Write: %v", err)
	}
	k.wantTimeout("Write", err)
	if took := time.Since(begun); took < ahead {
		k.Errorf("Write ended %v after a deadline %v ahead was set", took, ahead)
	}
}

// A deadline reaches those who wait already.
func checkDeadlineWakes(k *kit) {
	a, _ := k.connect()
	waiting := 1
	done := make(chan error, 2)
	go func() { done <- readOne(a) }()
	if !k.Unreliable {
		waiting++
		go func() { _, err := k.forever(a); done <- err }()
	}
	k.idle(moment)
	k.must("SetDeadline", func() error { return a.SetDeadline(time.Now().Add(time.Millisecond)) })
	for range waiting {
		k.wantTimeout("a Read or Write that waited", await(k, "a Read or Write that waited before SetDeadline", done))
	}
}

// idle lets others run for a while.
func (k *kit) idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// A deadline that was moved doesn't come when it first would have.
func checkDeadlineMoves(k *kit) {
	a, b := k.connect()
	k.must("SetDeadline", func() error { return a.SetDeadline(time.Now().Add(moment)) })
	k.must("SetReadDeadline", func() error { return a.SetReadDeadline(time.Now().Add(time.Hour)) })
	k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Time{}) })
	k.idle(2 * moment)
	k.exchange(b, a)
	k.exchange(a, b)
}

// tryWriter returns c's way to be written to without blocking, if it has one.
func tryWriter(c net.Conn) (transport.TryWriter, bool) {
	if w, ok := c.(transport.TryWriter); ok {
		return w, true
	}
	socket, ok := transport.SocketOf(c)
	return socket, ok
}

// TryWrite never waits, takes what fits, and says how much that was.
func checkTryWrite(k *kit) {
	a, b := k.connect()
	w, ok := tryWriter(a)
	if !ok {
		k.Skip("the connection is no TryWriter")
	}
	try := func(p []byte) (n int, err error) {
		err = k.do("TryWrite", func() (err error) { n, err = w.TryWrite(p); return err })
		return n, err
	}
	if n, err := try(nil); n != 0 || err != nil {
		k.Errorf("TryWrite of no bytes: %d, %v", n, err)
	}
	total, block := 0, make([]byte, 64<<10)
	for {
		k.fill(block, total)
		n, err := try(block)
		if err != nil || n < 0 || n > len(block) {
			k.Fatalf("TryWrite of %d bytes: %d, %v", len(block), n, err)
		}
		if n == 0 {
			break
		}
		if total += n; total > tooMuch {
			k.Fatalf("TryWrite: %v", errUnbounded)
		}
	}
	clear(block) // it must not be kept
	k.must("reading what TryWrite took", func() error { return k.readPattern(b, total) })
	k.send(a, "Write goes on")
	k.expect(b, "Write goes on")
	k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := try([]byte("x"))
	k.wantTimeout("TryWrite", err)
	k.must("SetWriteDeadline", func() error { return a.SetWriteDeadline(time.Time{}) })
	if n, err := try([]byte("again")); n != 5 || err != nil {
		k.Errorf("TryWrite when its deadline was taken back: %d, %v", n, err)
	}
	k.expect(b, "again")
	k.must("Close", a.Close)
	_, err = try([]byte("x"))
	k.wantClosed("TryWrite after Close", err)
}
