package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	readSize = 16 << 10 // bytes of one read
	underWay = 64       // how many reads are under way in one direction

	slicePause = 50 * time.Microsecond // between two slices, so that they are read one by one
)

// pair is a client's connection, and the one to the target that belongs to it.
type pair struct {
	p   *Proxy
	ctx context.Context
	end context.CancelFunc

	near *net.TCPConn

	mu  sync.Mutex
	far *net.TCPConn // nil until it is dialled
}

// reset resets both connections.
func (c *pair) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	cut(c.near)
	if c.far != nil {
		cut(c.far)
	}
}

// cut has a connection end with an RST.
func cut(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // it fails only if the connection is closed
	conn.Close()
}

// both carries bytes in both directions until both have ended.
func (c *pair) both(far *net.TCPConn) {
	defer far.Close()
	c.mu.Lock()
	c.far = far
	c.mu.Unlock()
	if c.ctx.Err() != nil { // it was reset before far was known
		c.reset()
		return
	}
	var ways sync.WaitGroup
	up := &way{pair: c, from: c.near, to: far, queue: make(chan piece, underWay), loses: func(f Faults) bool { return f.LoseUp || f.BlackHole }}
	down := &way{pair: c, from: far, to: c.near, queue: make(chan piece, underWay), loses: func(f Faults) bool { return f.LoseDown || f.BlackHole }}
	for _, w := range []*way{up, down} {
		ways.Go(w.read)
		ways.Go(w.write)
	}
	ways.Wait()
}

// swallow reads what the client sends until it has closed the connection.
func (c *pair) swallow() {
	buf := make([]byte, readSize)
	for {
		n, err := c.near.Read(buf)
		c.p.lose(n)
		if err != nil {
			return
		}
	}
}

// way is one direction of a pair.
type way struct {
	*pair
	from, to *net.TCPConn
	loses    func(Faults) bool
	queue    chan piece
}

// piece is what one read has returned.
type piece struct {
	data []byte
	end  error // how the direction has ended, if it has
	due  time.Time
}

// read takes what is sent, until the sender has ended it.
func (w *way) read() {
	buf := make([]byte, readSize)
	for {
		n, err := w.from.Read(buf)
		f, _ := w.p.now()
		select {
		case w.queue <- piece{append([]byte(nil), buf[:n]...), err, time.Now().Add(f.Latency)}:
		case <-w.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// write passes on what was read, in time, and how it has ended.
func (w *way) write() {
	for lost := false; ; {
		var next piece
		select {
		case next = <-w.queue:
		case <-w.ctx.Done():
			return
		}
		f, ok := w.arrive(next.due)
		if !ok {
			return
		}
		if lost = lost || w.loses(f); lost {
			w.p.lose(len(next.data))
		} else {
			// If the receiver is gone, the other direction has its reset: the sender learns it from there, unless that is lost.
			lost = w.pass(next, f.Slice) != nil
		}
		if next.end != nil {
			return
		}
	}
}

// arrive waits until what is due then may arrive, and returns the faults there are by then. It reports false if the pair ends before.
func (w *way) arrive(due time.Time) (Faults, bool) {
	if wait := time.Until(due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.ctx.Done():
			return Faults{}, false
		}
	}
	for {
		f, changed := w.p.now()
		if !f.Hold {
			return f, true
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			return Faults{}, false
		}
	}
}

// pass writes a piece, of which at most slice bytes at once unless that is 0, and ends the direction if the piece does.
func (w *way) pass(next piece, slice int) error {
	for data := next.data; len(data) > 0; {
		n := len(data)
		if slice > 0 {
			n = min(n, slice)
		}
		if _, err := w.to.Write(data[:n]); err != nil {
			return err
		}
		if data = data[n:]; len(data) > 0 {
			time.Sleep(slicePause)
		}
	}
	switch {
	case next.end == nil:
		return nil
	case errors.Is(next.end, io.EOF):
		return w.to.CloseWrite()
	default:
		cut(w.to)
		return nil
	}
}
