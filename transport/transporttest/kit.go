package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// kit is one check under way.
type kit struct {
	testing.TB
	Config
	pattern [65_537]byte // what is sent again and again; a prime, so that no buffer's size is a multiple
}

func newKit(t testing.TB, c Config) *kit {
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	k := &kit{TB: t, Config: c}
	for i := range k.pattern {
		x := uint32(i) * 2654435761
		k.pattern[i] = byte(x>>24) ^ byte(x>>13)
	}
	return k
}

// listen makes a listener that the check closes.
func (k *kit) listen() (l net.Listener, dialAddr string) {
	k.Helper()
	addr := k.Addr(k)
	u := k.parse(addr)
	ctx, cancel := k.context()
	defer cancel()
	l, err := k.Transport.Listen(ctx, u)
	if err != nil {
		k.Fatalf("Listen(%s): %v", addr, err)
	}
	k.Cleanup(func() { l.Close() })
	k.unchanged("Listen", addr, u)
	if l.Addr() == nil {
		k.Fatalf("the listener's Addr is nil")
	}
	if k.DialAddr != nil {
		addr = k.DialAddr(l)
	}
	return l, addr
}

// parse parses an address of the Config.
func (k *kit) parse(addr string) *url.URL {
	k.Helper()
	u, err := transport.ParseAddr(addr)
	if err != nil {
		k.Fatalf("the Config's address: %v", err)
	}
	return u
}

// unchanged checks that u is still what addr says.
func (k *kit) unchanged(op, addr string, u *url.URL) {
	k.Helper()
	if now := k.parse(addr); now.String() != u.String() {
		k.Errorf("%s has changed its address from %s to %s", op, now, u)
	}
}

// context returns one that lasts as long as the patience.
func (k *kit) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), k.Patience)
}

// dial connects to addr.
func (k *kit) dial(addr string) (net.Conn, error) {
	u := k.parse(addr)
	ctx, cancel := k.context()
	defer cancel()
	c, err := k.Transport.Dial(ctx, u)
	k.unchanged("Dial", addr, u)
	return c, err
}

// accepted is what Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

// accept accepts one connection in the background and performs its handshake, if it
// has one, as a server does.
func (k *kit) accept(l net.Listener) <-chan accepted {
	ch := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		if h, ok := c.(interface{ HandshakeContext(context.Context) error }); ok && err == nil {
			ctx, cancel := k.context()
			defer cancel()
			err = h.HandshakeContext(ctx)
		}
		ch <- accepted{c, err}
	}()
	return ch
}

// join dials addr and accepts the connection.
func (k *kit) join(l net.Listener, addr string) (dialed, taken net.Conn) {
	k.Helper()
	accepting := k.accept(l)
	dialing := make(chan accepted, 1)
	go func() { c, err := k.dial(addr); dialing <- accepted{c, err} }()
	d := await(k, "Dial", dialing)
	if d.err != nil {
		k.Fatalf("Dial(%s): %v", addr, d.err)
	}
	k.Cleanup(func() { d.conn.Close() })
	if k.Unreliable { // the listener may learn of a connection only by its first packet
		_, _ = d.conn.Write([]byte{0})
	}
	a := await(k, "Accept", accepting)
	if a.err != nil {
		k.Fatalf("Accept: %v", a.err)
	}
	k.Cleanup(func() { a.conn.Close() })
	if k.Unreliable {
		k.drain(a.conn)
	}
	return d.conn, a.conn
}

// connect makes a connection that the check closes.
func (k *kit) connect() (a, b net.Conn) {
	k.Helper()
	if k.Pair == nil {
		l, addr := k.listen()
		return k.join(l, addr)
	}
	a, b = k.Pair(k)
	k.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// await waits for ch, with patience.
func await[T any](k *kit, what string, ch <-chan T) T {
	k.Helper()
	timer := time.NewTimer(k.Patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		k.Fatalf("%s has not ended within %v", what, k.Patience)
		panic("unreachable")
	}
}

// do runs f, which returns an error or nil, with patience.
func (k *kit) do(what string, f func() error) error {
	k.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return await(k, what, done)
}

// must runs f, which has to succeed, with patience.
func (k *kit) must(what string, f func() error) {
	k.Helper()
	if err := k.do(what, f); err != nil {
		k.Fatalf("%s: %v", what, err)
	}
}

// write writes all of b and then overwrites it: the transport must not keep it.
func write(c net.Conn, b []byte) error {
	n, err := c.Write(b)
	clear(b)
	if err == nil && n != len(b) {
		return fmt.Errorf("wrote %d of %d bytes, without an error", n, len(b))
	}
	return err
}

// send has text arrive at the other end of c.
func (k *kit) send(c net.Conn, text string) {
	k.Helper()
	k.must("Write", func() error { return write(c, []byte(text)) })
}

// expect reads exactly text.
func (k *kit) expect(c net.Conn, text string) {
	k.Helper()
	b := make([]byte, len(text))
	k.must("Read", func() error { _, err := io.ReadFull(c, b); return err })
	if string(b) != text {
		k.Fatalf("read %q, want %q", b, text)
	}
}

// drain reads what comes within a moment.
func (k *kit) drain(c net.Conn) {
	k.Helper()
	k.must("SetReadDeadline", func() error { return c.SetReadDeadline(time.Now().Add(moment)) })
	_ = k.do("Read until the deadline", func() error { _, err := io.Copy(io.Discard, c); return err })
	k.must("SetReadDeadline", func() error { return c.SetReadDeadline(time.Time{}) })
}

// moment is how far deadlines are ahead that are to be waited for.
const moment = 20 * time.Millisecond

// ahead is the same of those that must not come early, which a process that hasn't run for as long doesn't see.
const ahead = 5 * moment

// tooMuch is how many bytes nobody need write for a Write to have to wait.
const tooMuch = 64 << 20

// errUnbounded says that a transport takes more than anybody has memory for.
var errUnbounded = fmt.Errorf("it has taken %d MiB that nobody reads: its buffers need a bound", tooMuch>>20)

// forever writes blocks until that fails, and returns how many bytes were taken.
func (k *kit) forever(c net.Conn) (total int, err error) {
	b := make([]byte, 64<<10)
	if k.MaxPacket > 0 {
		b = b[:min(len(b), k.MaxPacket)]
	}
	for total < tooMuch {
		k.fill(b, total)
		n, err := c.Write(b)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, errUnbounded
}

// fill fills b with what stands at an offset of the endless sequence of patterns.
func (k *kit) fill(b []byte, offset int) {
	for n := 0; n < len(b); {
		n += copy(b[n:], k.pattern[(offset+n)%len(k.pattern):])
	}
}

// wantTimeout checks that a deadline ended what took part in it.
func (k *kit) wantTimeout(what string, err error) {
	k.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		k.Errorf("%s after its deadline: %v; want an error that matches os.ErrDeadlineExceeded", what, err)
	} else if !errors.As(err, &ne) || !ne.Timeout() {
		k.Errorf("%s after its deadline: %v; want a net.Error whose Timeout is true", what, err)
	}
}

// wantClosed checks the error of what this end's Close ends.
func (k *kit) wantClosed(what string, err error) {
	k.Helper()
	if !errors.Is(err, net.ErrClosed) {
		k.Errorf("%s: %v; want an error that matches net.ErrClosed", what, err)
	}
}
