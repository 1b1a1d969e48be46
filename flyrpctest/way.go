package flyrpctest

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// SetDelay makes what is sent from now on, the end of the connection included, arrive d later. The order is
// kept. 0 or less means no delay.
func (w *Way) SetDelay(d time.Duration) {
	w.set(func() { w.delay = d }, func(end *transport.MemConn) { end.SetDelay(d) })
}

// SetRate makes what is sent from now on arrive at n bytes per second, in portions of a hundredth of
// a second, so that its sender is slowed down too once 64 KiB are on their way. 0 or less means no such bound.
func (w *Way) SetRate(n int) {
	w.set(func() { w.rate = n }, func(end *transport.MemConn) { end.SetRate(n) })
}

// SetChunk makes the receiver's Reads return at most n bytes each. 0 or less means no such bound.
func (w *Way) SetChunk(n int) {
	w.set(func() { w.chunk = n }, func(end *transport.MemConn) { end.SetChunk(n) })
}

// SetPartition holds, with on, all that is sent: the receiver sees silence, and the sender nothing at all until
// 64 KiB are held. With off, what was held arrives. Dial waits while one direction is parted.
func (w *Way) SetPartition(on bool) {
	w.set(func() {
		w.partitioned = on
		l := w.link
		if !l.Up.partitioned && !l.Down.partitioned && l.healed != nil {
			close(l.healed)
			l.healed = nil
		}
	}, func(end *transport.MemConn) { end.SetPartition(on) })
}

// CloseAfter cuts each connection that is open when n more bytes have arrived in this direction, or if
// none is, the next one; with 0 at once. What has arrived by then can still be read, what is under way in either direction is lost,
// and both sides see a reset. A negative n takes back the cuts that have not come yet.
func (w *Way) CloseAfter(n int64) {
	w.set(func() {
		w.cut = n
		if slices.ContainsFunc(w.link.open.list(), alive) {
			w.cut = -1
		}
	}, func(end *transport.MemConn) { end.CloseAfter(n) })
}

// alive reports whether the dialling end of a connection could be written to, if its deadline let it. One that
// is lost stays open until its own side has closed it.
func alive(up *transport.MemConn) bool {
	_, err := up.TryWrite(nil)
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// set notes a fault for the connections that come, and injects it into those that are open.
func (w *Way) set(note func(), inject func(end *transport.MemConn)) {
	w.link.mu.Lock()
	defer w.link.mu.Unlock()
	note()
	for _, up := range w.link.open.list() {
		inject(w.of(up))
	}
}

// of returns the sending end of a connection, by its client's end.
func (w *Way) of(up *transport.MemConn) *transport.MemConn {
	if w.down {
		return up.Peer()
	}
	return up
}

// apply injects what was set into a new connection. The Link's lock is held.
func (w *Way) apply(end *transport.MemConn) {
	end.SetDelay(w.delay)
	end.SetRate(w.rate)
	end.SetChunk(w.chunk)
	end.SetPartition(w.partitioned)
	if w.cut >= 0 {
		end.CloseAfter(w.cut)
		w.cut = -1
	}
}
