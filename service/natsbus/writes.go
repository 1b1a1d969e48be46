package natsbus

import (
	"cmp"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxGathered is how many bytes wait at most for the goroutine that writes them, as many as nats.go has by itself.
	maxGathered = nats.DefaultWriteBufSize
	// closeWait is how long what was written before Close may take to go out, as long as crypto/tls has for its last words.
	closeWait = 5 * time.Second
)

// WriteAtOnce is an option of connections to NATS, which Connect adds to all that it makes. By itself nats.go leaves each message to a goroutine
// that writes what has gathered. With this option what is published goes to the socket at once if something was read since
// the last time: so a request and its answer, of callers that wait for each other, each need one goroutine less to be woken. What is published
// without waiting for anything gathers as before, which nats.Conn.Buffered doesn't count. An error of writing ends the connection, so that nats.go connects again.
//
// It comes after the other options, and sets a custom dialer, which dials by that which there is, or by nats.Dialer and nats.Timeout; as always with
// custom dialers, each address of a host with several has the whole of that time. It does nothing to connections that have nats.WriteBufferSize,
// nats.InProcessServer, a custom dialer with SkipTLSHandshake, no limit for writing (a nats.FlusherTimeout of 0) or WebSocket.
func WriteAtOnce() nats.Option {
	return func(o *nats.Options) error {
		if o.WriteBufferSize != 0 || o.InProcessServer != nil || o.FlusherTimeout <= 0 || makesTLS(o.CustomDialer) || webSocket(o) {
			return nil
		}
		o.WriteBufferSize = 1 // nats.go calls Write with each message
		o.CustomDialer = &dialer{inner: innerDialer(o), timeout: o.FlusherTimeout}
		return nil
	}
}

// makesTLS says whether d's connections may have TLS already. nats.go looks for it in what d returns.
func makesTLS(d nats.CustomDialer) bool {
	_, ok := d.(interface{ SkipTLSHandshake() bool })
	return ok
}

// webSocket says whether the servers are reached by WebSocket. There each Write would be a frame, and its header a Write of its own.
func webSocket(o *nats.Options) bool {
	return slices.ContainsFunc(append([]string{o.Url}, o.Servers...), func(url string) bool {
		scheme, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(url)), "://")
		return scheme == "ws" || scheme == "wss"
	})
}

// innerDialer returns what dials if there were no option WriteAtOnce.
func innerDialer(o *nats.Options) nats.CustomDialer {
	if o.CustomDialer != nil {
		return o.CustomDialer
	}
	d := net.Dialer{Timeout: cmp.Or(o.Timeout, nats.DefaultTimeout)}
	if o.Dialer != nil {
		d = *o.Dialer
	}
	if o.AllowMultipathTCP != nil {
		d.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	return &d
}

// dialer is a nats.CustomDialer.
type dialer struct {
	inner   nats.CustomDialer
	timeout time.Duration
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.inner.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &writer{Conn: c, timeout: d.timeout}, nil
}

// writer is a connection whose Write writes at once if something was read since the last time, and else leaves what is to be written to
// a goroutine. That one ends when it has written: nats.go doesn't close connections that fail before it is connected again.
type writer struct {
	net.Conn
	timeout time.Duration // of each write to Conn
	heard   atomic.Bool   // something was read since something was written at once
	closing atomic.Bool   // writes to Conn have closeWait

	mu       sync.Mutex
	gathered []byte
	due      bool  // a goroutine is about to write what has gathered
	err      error // of the first write that has failed, or net.ErrClosed
}

// Read implements net.Conn.
func (w *writer) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.heard.Store(true)
	}
	return n, err
}

// Write implements net.Conn. An error may be that of bytes that an earlier Write has taken. A Write of nothing is how nats.go flushes, before Close too.
func (w *writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(b) == 0 {
		w.flush()
		return 0, w.err
	}
	now := w.heard.Swap(false)
	if now && len(w.gathered) == 0 || len(w.gathered)+len(b) > maxGathered {
		w.flush()
		return w.put(b)
	}
	w.gathered = append(w.gathered, b...)
	if now {
		w.flush()
		return len(b), w.err
	}
	if !w.due {
		w.due = true
		go w.later()
	}
	return len(b), nil
}

// later writes what has gathered when the goroutine's turn has come. An error is that of the next Write.
func (w *writer) later() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = false
	w.flush()
}

// flush writes what has gathered.
func (w *writer) flush() {
	if len(w.gathered) > 0 {
		_, _ = w.put(w.gathered)
		w.gathered = w.gathered[:0]
	}
}

// put writes to Conn. After an error nothing more is written, as part of a message may have been, and Conn is closed, which nats.go's reader finds.
func (w *writer) put(b []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	_ = w.Conn.SetWriteDeadline(time.Now().Add(w.timeout))
	if w.closing.Load() {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(closeWait))
	}
	if n, w.err = w.Conn.Write(b); w.err != nil {
		_ = w.Conn.Close()
	}
	return n, w.err
}

// SetWriteDeadline implements net.Conn and does nothing, as put sets one for each write. nats.go and crypto/tls set it around Write, for which
// they return as soon as the bytes have gathered: then it would be taken from the goroutine, or tell it that its time is over.
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn, for reading alone.
func (w *writer) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// Close implements net.Conn. What has gathered is written first, and what is being written has closeWait from now.
func (w *writer) Close() error {
	w.closing.Store(true)
	_ = w.Conn.SetWriteDeadline(time.Now().Add(closeWait))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	w.err = cmp.Or(w.err, net.ErrClosed)
	return w.Conn.Close()
}
