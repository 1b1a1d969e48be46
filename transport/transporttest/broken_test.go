package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// shortPatience is that with broken transports, which try it.
const shortPatience = 300 * time.Millisecond

// faulty is a transport inside the process with something wrong.
type faulty struct {
	*transport.Mem
	conn    func(*transport.MemConn) net.Conn // what becomes of connections at both ends
	dial    func(ctx context.Context, addr *url.URL, dial func() (net.Conn, error)) (net.Conn, error)
	listen  func(ctx context.Context, addr *url.URL, listen func() (net.Listener, error)) (net.Listener, error)
	schemes []string
}

func (f *faulty) Schemes() []string {
	if f.schemes != nil {
		return f.schemes
	}
	return f.Mem.Schemes()
}

func (f *faulty) wrap(c net.Conn, err error) (net.Conn, error) {
	if err != nil || f.conn == nil {
		return c, err
	}
	return f.conn(c.(*transport.MemConn)), nil
}

func (f *faulty) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	dial := func() (net.Conn, error) { return f.wrap(f.Mem.Dial(ctx, addr)) }
	if f.dial != nil {
		return f.dial(ctx, addr, dial)
	}
	return dial()
}

func (f *faulty) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	listen := func() (net.Listener, error) {
		l, err := f.Mem.Listen(ctx, addr)
		if err != nil {
			return nil, err
		}
		return &faultyListener{l, f}, nil
	}
	if f.listen != nil {
		return f.listen(ctx, addr, listen)
	}
	return listen()
}

type faultyListener struct {
	net.Listener
	f *faulty
}

func (l *faultyListener) Accept() (net.Conn, error) { return l.f.wrap(l.Listener.Accept()) }

// hooked is a connection whose methods can be replaced.
type hooked struct {
	*transport.MemConn
	read          func([]byte) (int, error)
	write         func([]byte) (int, error)
	tryWrite      func([]byte) (int, error)
	close         func() error
	closeWrite    func() error
	readDeadline  func(time.Time) error
	writeDeadline func(time.Time) error
	addr          func() net.Addr
}

func (h *hooked) Read(b []byte) (int, error) {
	if h.read != nil {
		return h.read(b)
	}
	return h.MemConn.Read(b)
}

func (h *hooked) Write(b []byte) (int, error) {
	if h.write != nil {
		return h.write(b)
	}
	return h.MemConn.Write(b)
}

func (h *hooked) TryWrite(b []byte) (int, error) {
	if h.tryWrite != nil {
		return h.tryWrite(b)
	}
	return h.MemConn.TryWrite(b)
}

func (h *hooked) Close() error {
	if h.close != nil {
		return h.close()
	}
	return h.MemConn.Close()
}

func (h *hooked) CloseWrite() error {
	if h.closeWrite != nil {
		return h.closeWrite()
	}
	return h.MemConn.CloseWrite()
}

func (h *hooked) SetReadDeadline(t time.Time) error {
	if h.readDeadline != nil {
		return h.readDeadline(t)
	}
	return h.MemConn.SetReadDeadline(t)
}

func (h *hooked) SetWriteDeadline(t time.Time) error {
	if h.writeDeadline != nil {
		return h.writeDeadline(t)
	}
	return h.MemConn.SetWriteDeadline(t)
}

func (h *hooked) SetDeadline(t time.Time) error {
	if err := h.SetReadDeadline(t); err != nil {
		return err
	}
	return h.SetWriteDeadline(t)
}

func (h *hooked) RemoteAddr() net.Addr {
	if h.addr != nil {
		return h.addr()
	}
	return h.MemConn.RemoteAddr()
}

// hook returns a faulty transport whose connections f breaks.
func hook(f func(h *hooked)) *faulty {
	return &faulty{conn: func(c *transport.MemConn) net.Conn {
		h := &hooked{MemConn: c}
		f(h)
		return h
	}}
}

// broken is a transport that does something wrong, which the check of that name has
// to find and to call so.
type broken struct {
	name, check, says string
	transport         func(t *testing.T) *faulty
}

// TestBrokenTransports checks that each kind of fault is found.
func TestBrokenTransports(t *testing.T) {
	for _, list := range [][]broken{brokenData(), brokenDeadlines(), brokenClosing(), brokenOpening()} {
		for _, b := range list {
			t.Run(b.check+"/"+b.name, func(t *testing.T) {
				f := b.transport(t)
				f.Mem = transport.NewMem()
				c := memConfig()
				c.Transport, c.Patience = f, shortPatience
				if strings.Contains(b.says, "bound") || strings.Contains(b.says, "goes on when") {
					c.Patience = DefaultPatience // much is written
				}
				failures, skipped := record(t, c, b.check)
				if skipped || !strings.Contains(failures, b.says) {
					t.Errorf("the check found %q (skipped: %v), want %q", failures, skipped, b.says)
				}
			})
		}
	}
}

func data(name, check, says string, f func(h *hooked)) broken {
	return broken{name, check, says, func(*testing.T) *faulty { return hook(f) }}
}

func brokenData() []broken {
	return []broken{
		data("changes a byte", "Stream", "arrived as another", func(h *hooked) {
			h.write = func(b []byte) (int, error) {
				b = bytes.Clone(b)
				if len(b) > 4096 {
					b[4096] ^= 1
				}
				return h.MemConn.Write(b)
			}
		}),
		data("writes less and says nothing", "Stream", "wrote 65536 of 65537 bytes, without an error", func(h *hooked) {
			h.write = func(b []byte) (int, error) {
				_, err := h.MemConn.Write(b)
				return min(len(b), 1<<16), err
			}
		}),
		data("can't read while it writes", "BothWays", "in both directions at once has not ended", func(h *hooked) {
			var mu sync.Mutex
			var once sync.Once
			reads := make(chan struct{}) // so that the locks of both ends are taken by readers, whatever the scheduler does
			h.read = func(b []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				once.Do(func() { close(reads) })
				return h.MemConn.Read(b)
			}
			h.write = func(b []byte) (int, error) {
				<-reads
				mu.Lock()
				defer mu.Unlock()
				return h.MemConn.Write(b)
			}
		}),
		data("mixes writes", "WholeWrites", "are mixed", func(h *hooked) {
			h.write = func(b []byte) (n int, err error) {
				for len(b) > 0 && err == nil {
					k := min(len(b), 1000)
					_, err = h.MemConn.Write(b[:k])
					b, n = b[k:], n+k
					runtime.Gosched()
				}
				return n, err
			}
		}),
		data("drops what it has no room for", "Backpressure", "reading what was written has not ended", func(h *hooked) {
			dropped := false
			h.write = func(b []byte) (int, error) {
				if dropped {
					return h.MemConn.Write(b)
				}
				n, err := h.MemConn.TryWrite(b)
				dropped = n < len(b)
				return len(b), err
			}
		}),
		data("takes everything", "Backpressure", "its buffers need a bound", func(h *hooked) {
			h.write = func(b []byte) (int, error) { return len(b), nil }
		}),
		data("waits", "TryWrite", "TryWrite has not ended", func(h *hooked) {
			h.tryWrite = h.MemConn.Write
		}),
		data("claims less than it took", "TryWrite", "Write goes o", func(h *hooked) {
			h.tryWrite = func(b []byte) (int, error) {
				n, err := h.MemConn.TryWrite(b)
				if n > 10 {
					n--
				}
				return n, err
			}
		}),
		data("has no address", "Addresses", "RemoteAddr is nil", func(h *hooked) {
			h.addr = func() net.Addr { return nil }
		}),
		data("has an address without network", "Addresses", "names no network", func(h *hooked) {
			h.addr = func() net.Addr { return &net.UnixAddr{} }
		}),
	}
}

func brokenDeadlines() []broken {
	ignore := func(time.Time) error { return nil }
	onlyLater := func(set func(time.Time) error) func(time.Time) error {
		return func(t time.Time) error {
			if t.IsZero() || time.Until(t) > 0 {
				return set(t)
			}
			return nil
		}
	}
	never := func(set func(time.Time) error) func(time.Time) error { // takes none back
		return func(t time.Time) error {
			if t.IsZero() {
				return nil
			}
			return set(t)
		}
	}
	return []broken{
		data("ignores it", "ReadDeadline", "Read after its deadline", func(h *hooked) { h.readDeadline = ignore }),
		data("ignores the past", "ReadDeadline", "Read after its deadline: <nil>", func(h *hooked) { h.readDeadline = onlyLater(h.MemConn.SetReadDeadline) }),
		data("fails in its own way", "ReadDeadline", "want an error that matches os.ErrDeadlineExceeded", func(h *hooked) {
			h.read = func(b []byte) (int, error) {
				n, err := h.MemConn.Read(b)
				if err != nil {
					err = errors.New("too late")
				}
				return n, err
			}
		}),
		data("keeps it", "ReadDeadline", "Read: read mem", func(h *hooked) { h.readDeadline = never(h.MemConn.SetReadDeadline) }),
		data("ignores the past", "WriteDeadline", "Write after its deadline: <nil>", func(h *hooked) { h.writeDeadline = onlyLater(h.MemConn.SetWriteDeadline) }),
		data("ignores it", "WriteDeadline", "Write has not ended", func(h *hooked) {
			h.writeDeadline = func(t time.Time) error {
				if time.Until(t) > 0 {
					return nil
				}
				return h.MemConn.SetWriteDeadline(t)
			}
		}),
		data("comes early", "WriteDeadline", "Write ended", func(h *hooked) {
			h.writeDeadline = func(t time.Time) error {
				if time.Until(t) > 0 {
					t = time.Now()
				}
				return h.MemConn.SetWriteDeadline(t)
			}
		}),
		data("doesn't reach who waits", "DeadlineWakes", "has not ended", func(h *hooked) { h.readDeadline = ignore }),
		data("comes when it was moved", "DeadlineMoves", "i/o timeout", func(h *hooked) {
			var once sync.Once
			h.readDeadline = func(t time.Time) (err error) {
				once.Do(func() { err = h.MemConn.SetReadDeadline(t) })
				return err
			}
		}),
	}
}

func brokenClosing() []broken {
	return []broken{
		data("lets readers wait", "CloseWakes", "has not ended", func(h *hooked) {
			block := make(chan struct{})
			time.AfterFunc(3*shortPatience, func() { close(block) })
			h.read = func([]byte) (int, error) { <-block; return 0, net.ErrClosed }
		}),
		data("has an error of its own", "CloseWakes", "want an error that matches net.ErrClosed", func(h *hooked) {
			h.read = func(b []byte) (int, error) {
				n, err := h.MemConn.Read(b)
				if err != nil {
					err = io.ErrClosedPipe
				}
				return n, err
			}
		}),
		data("goes on writing", "AfterClose", "Write after Close: <nil>", func(h *hooked) {
			h.write = func(b []byte) (int, error) { return len(b), nil }
		}),
		data("always fails to close", "AfterClose", "no Close has returned nil", func(h *hooked) {
			h.close = func() error { h.MemConn.Close(); return io.ErrClosedPipe }
		}),
		data("loses the last words", "PeerClose", "want \"last words\" and io.EOF", func(h *hooked) {
			h.close = func() error { h.Reset(); return h.MemConn.Close() }
		}),
		data("ends without io.EOF", "PeerClose", "io: read/write on closed pipe; want", func(h *hooked) {
			h.read = func(b []byte) (int, error) {
				n, err := h.MemConn.Read(b)
				if err == io.EOF {
					err = io.ErrClosedPipe
				}
				return n, err
			}
		}),
		data("lets the other end write on", "PeerClose", "Write goes on when the other end has closed", func(h *hooked) {
			h.write = func(b []byte) (int, error) { _, _ = h.MemConn.Write(b); return len(b), nil }
		}),
		data("closes both directions", "HalfClose", "connection reset", func(h *hooked) {
			h.closeWrite = h.MemConn.Close
		}),
		data("closes nothing", "HalfClose", "Read until the end has not ended", func(h *hooked) {
			h.closeWrite = func() error { return nil }
		}),
		{"has no CloseWrite", "HalfClose", "has no method CloseWrite", func(*testing.T) *faulty {
			return &faulty{conn: func(c *transport.MemConn) net.Conn { return struct{ net.Conn }{c} }}
		}},
		data("hangs", "Racy", "everything at once has not ended", func(h *hooked) {
			block := make(chan struct{})
			time.AfterFunc(3*shortPatience, func() { close(block) })
			h.close = func() error { <-block; return h.MemConn.Close() }
		}),
		{"leaves a goroutine", "NothingLeft", "goroutines are left", func(t *testing.T) *faulty {
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			return hook(func(*hooked) { go func() { <-done }() })
		}},
	}
}

func brokenOpening() []broken {
	open := func(name, check, says string, f func(t *testing.T, f *faulty)) broken {
		return broken{name, check, says, func(t *testing.T) *faulty {
			broken := new(faulty)
			f(t, broken)
			return broken
		}}
	}
	return []broken{
		open("none", "Schemes", "names no scheme", func(_ *testing.T, f *faulty) { f.schemes = []string{} }),
		open("another", "Schemes", `an address has the scheme "mem"`, func(_ *testing.T, f *faulty) { f.schemes = []string{"other"} }),
		open("plain error", "WrongAddresses", "want an *AddrError", func(_ *testing.T, f *faulty) {
			f.dial = func(context.Context, *url.URL, func() (net.Conn, error)) (net.Conn, error) {
				return nil, errors.New("no such thing")
			}
		}),
		open("says nothing", "WrongAddresses", "doesn't say what is wrong", func(_ *testing.T, f *faulty) {
			f.listen = func(_ context.Context, u *url.URL, _ func() (net.Listener, error)) (net.Listener, error) {
				return nil, &transport.AddrError{Addr: u.String()}
			}
		}),
		open("changes the address", "ManyConnections", "Dial has changed its address", func(_ *testing.T, f *faulty) {
			f.dial = func(_ context.Context, u *url.URL, dial func() (net.Conn, error)) (net.Conn, error) {
				defer func() { u.Host += "/x" }()
				return dial()
			}
		}),
		open("one for all", "ManyConnections", "Accept has not ended", func(_ *testing.T, f *faulty) {
			var once sync.Once
			var conn net.Conn
			f.dial = func(_ context.Context, _ *url.URL, dial func() (net.Conn, error)) (c net.Conn, err error) {
				once.Do(func() { conn, err = dial() })
				return conn, err
			}
		}),
		open("lets Accept wait", "ListenerClose", "an Accept that waited before Close has not ended", func(t *testing.T, f *faulty) {
			f.listen = func(_ context.Context, _ *url.URL, listen func() (net.Listener, error)) (net.Listener, error) {
				l, err := listen()
				t.Cleanup(func() { l.Close() })
				return deafListener{l}, err
			}
		}),
		open("keeps the address", "ListenerClose", "Listen at the address of a listener that was closed", func(t *testing.T, f *faulty) {
			var once sync.Once
			f.listen = func(_ context.Context, _ *url.URL, listen func() (net.Listener, error)) (l net.Listener, err error) {
				err = errors.New("address in use")
				once.Do(func() { l, err = listen() })
				return l, err
			}
		}),
		open("waits", "DialNobody", "Dial has not ended", func(t *testing.T, f *faulty) {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			f.dial = func(_ context.Context, _ *url.URL, dial func() (net.Conn, error)) (net.Conn, error) {
				<-end
				return nil, errors.New("nobody")
			}
		}),
		open("doesn't say where", "DialNobody", "doesn't say where nobody listens", func(_ *testing.T, f *faulty) {
			f.dial = func(_ context.Context, _ *url.URL, dial func() (net.Conn, error)) (net.Conn, error) {
				return nil, errors.New("no route")
			}
		}),
		open("connects", "DialNobody", "has connected, and nobody listens", func(_ *testing.T, f *faulty) {
			f.dial = func(_ context.Context, _ *url.URL, _ func() (net.Conn, error)) (net.Conn, error) {
				a, b := transport.Pipe(nil)
				b.Close()
				return a, nil
			}
		}),
		open("doesn't look at it", "DialContext", "has connected though its context had ended", func(_ *testing.T, f *faulty) {
			f.dial = func(_ context.Context, u *url.URL, _ func() (net.Conn, error)) (net.Conn, error) {
				return f.Mem.Dial(context.Background(), u)
			}
		}),
		open("has an error of its own", "DialContext", "want an error that matches context.Canceled", func(_ *testing.T, f *faulty) {
			f.dial = func(context.Context, *url.URL, func() (net.Conn, error)) (net.Conn, error) {
				return nil, io.ErrClosedPipe
			}
		}),
		open("ends with it", "DialContext", "closed network connection", func(_ *testing.T, f *faulty) {
			f.dial = func(ctx context.Context, _ *url.URL, dial func() (net.Conn, error)) (net.Conn, error) {
				c, err := dial()
				if err == nil {
					context.AfterFunc(ctx, func() { c.Close() })
				}
				return c, err
			}
		}),
	}
}

// deafListener doesn't hear that it is closed.
type deafListener struct{ net.Listener }

func (deafListener) Close() error { return nil }
