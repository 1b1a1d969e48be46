package transporttest

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// Close wakes those who read and write.
func checkCloseWakes(k *kit) {
	a, _ := k.connect()
	waiting := 2
	done := make(chan error, 4)
	for range 2 {
		go func() { done <- readOne(a) }()
	}
	if !k.Unreliable {
		waiting += 2
		for range 2 {
			go func() { _, err := k.forever(a); done <- err }()
		}
	}
	k.idle(moment)
	_ = k.do("Close", func() error { a.Close(); return nil })
	for range waiting {
		k.wantClosed("a Read or Write that waited", await(k, "a Read or Write that waited before Close", done))
	}
}

// Everything fails after Close, which may be called by many.
func checkAfterClose(k *kit) {
	a, _ := k.connect()
	closing := make(chan error, 4)
	for range cap(closing) {
		go func() { closing <- a.Close() }()
	}
	succeeded := 0
	for range cap(closing) {
		if err := await(k, "Close", closing); err == nil {
			succeeded++
		}
	}
	if succeeded == 0 {
		k.Errorf("no Close has returned nil")
	}
	k.wantClosed("Read after Close", k.do("Read", func() error { return readOne(a) }))
	k.wantClosed("Write after Close", k.do("Write", func() error { _, err := a.Write([]byte("x")); return err }))
}

type closeWriter interface{ CloseWrite() error }

// readEnd reads up to io.EOF and wants nothing but text before it.
func (k *kit) readEnd(c net.Conn, text string) {
	k.Helper()
	var got []byte
	err := k.do("Read until the end", func() error {
		b := make([]byte, max(100, k.MaxPacket))
		for {
			n, err := c.Read(b)
			if got = append(got, b[:n]...); err != nil {
				return err
			}
		}
	})
	if err != io.EOF || string(got) != text {
		k.Errorf("read %q and then %v; want %q and io.EOF", got, err, text)
	}
	if err := k.do("Read at the end", func() error { return readOne(c) }); err != io.EOF {
		k.Errorf("a second Read at the end: %v, want io.EOF again", err)
	}
}

// What was written before Close arrives, and then the end; and writing back fails
// some time.
func checkPeerClose(k *kit) {
	a, b := k.connect()
	k.send(a, "last words")
	k.must("Close", a.Close)
	k.readEnd(b, "last words")
	k.must("SetWriteDeadline", func() error { return b.SetWriteDeadline(time.Now().Add(k.Patience)) })
	err := k.do("Write to a closed connection", func() error { _, err := k.forever(b); return err })
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errUnbounded) {
		k.Errorf("Write goes on when the other end has closed: %v", err)
	}
}

// One direction can be closed alone.
func checkHalfClose(k *kit) {
	a, b := k.connect()
	half, ok := a.(closeWriter)
	if !ok {
		k.Fatalf("%T has no method CloseWrite() error; set NoHalfClose if that is not possible", a)
	}
	k.send(a, "question")
	k.must("CloseWrite", half.CloseWrite)
	if err := k.do("Write", func() error { _, err := a.Write([]byte("x")); return err }); err == nil {
		k.Errorf("a Write after CloseWrite succeeded")
	}
	k.readEnd(b, "question")
	k.send(b, "answer")
	k.must("Close", b.Close)
	k.readEnd(a, "answer")
}

// Addresses are there.
func checkAddresses(k *kit) {
	a, b := k.connect()
	for _, c := range []net.Conn{a, b} {
		for name, addr := range map[string]net.Addr{"LocalAddr": c.LocalAddr(), "RemoteAddr": c.RemoteAddr()} {
			if addr == nil {
				k.Errorf("%s is nil", name)
			} else if addr.Network() == "" {
				k.Errorf("%s %q names no network", name, addr)
			}
		}
	}
}

// Everything may happen at once. The race detector looks on, and nothing hangs.
func checkRacy(k *kit) {
	a, b := k.connect()
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b, a, b} {
		wg.Go(func() {
			p := make([]byte, 1000)
			if k.MaxPacket > 0 {
				p = p[:min(len(p), k.MaxPacket)]
			}
			for range 100 {
				_, _ = c.Write(p)
			}
		})
		wg.Go(func() {
			p := make([]byte, max(700, k.MaxPacket))
			for range 200 {
				_, _ = c.Read(p)
			}
		})
		wg.Go(func() {
			for i := range 200 {
				_ = c.SetReadDeadline(time.Now().Add(time.Duration(i%3) * time.Millisecond))
				_ = c.SetWriteDeadline(time.Now().Add(time.Duration(i%2) * time.Millisecond))
				_, _ = c.LocalAddr(), c.RemoteAddr()
			}
			_ = c.SetDeadline(time.Now())
			c.Close()
		})
	}
	k.must("everything at once", func() error { wg.Wait(); return nil })
}

// Connections and listeners that are closed leave no goroutine behind.
func checkNothingLeft(k *kit) {
	before := runtime.NumGoroutine()
	for range 5 {
		k.useUp()
	}
	end := time.Now().Add(k.Patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			k.Fatalf("%d goroutines are left, there were %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		k.idle(time.Millisecond)
	}
}

// useUp makes a connection, uses it and closes all that it has made.
func (k *kit) useUp() {
	var a, b net.Conn
	if k.Pair != nil {
		a, b = k.Pair(k)
	} else {
		l, addr := k.listen()
		a, b = k.join(l, addr)
		k.must("Close of the listener", l.Close)
	}
	k.exchange(a, b)
	_ = k.do("Close", func() error { a.Close(); b.Close(); return nil })
}
