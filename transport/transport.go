// Package transport opens connections by URL.
//
// A [Transport] dials and listens for the URL schemes it names. A [Table] holds
// several and picks one by an address's scheme: [TCP], [Unix] and [UDP] are built in,
// everything else is given by the program. [TLS] needs its certificates; [Mem] is
// a network inside the process, with faults a test can inject; [StartChild] and
// [Stdio] speak over the standard input and output of a child process. [Raw]
// reaches the socket below a connection for writes that never block and reads
// that hold no buffer while they wait. Package transporttest tests a Transport.
//
// The package moves bytes. It knows nothing about what they mean.
package transport

import (
	"context"
	"net"
	"net/url"
)

// Transport opens connections for the URL schemes it names. All of its methods
// may run concurrently.
//
// A connection is a net.Conn whose bytes arrive in order, none lost and none
// twice, or a PacketConn. Beyond what net.Conn says:
//
//   - A Read, a Write and Close may run concurrently, with themselves too, and
//     concurrent Writes don't mix.
//   - Close wakes whoever reads or writes. They, and what is called later, fail with
//     net.ErrClosed. What was written before arrives, and then io.EOF.
//   - A deadline in the past ends everything at once, one that is set reaches those
//     who wait already, and the zero time takes it back. The error matches
//     os.ErrDeadlineExceeded, and a Read can be repeated after it.
//   - Writing goes on while the other end writes as well and nobody reads, as far as
//     the buffers go: what one end sends never waits for what it receives.
//   - With a method CloseWrite() error, this end stops sending: the other end reads
//     what was sent and then io.EOF, and this end goes on reading. FlyRPC uses it
//     to end connections so that the last answer arrives.
//   - With a method HandshakeContext(context.Context) error, a server calls that
//     before anything else. With ConnectionState() tls.ConnectionState it shows
//     the other end's certificate.
//   - With TryWrite (see TryWriter) writes need no goroutine of their own.
//
// A listener's Accept never waits for what a client has to send, and Close
// wakes it with net.ErrClosed.
type Transport interface {
	// Schemes lists the URL schemes served, in lower case, at least one. It
	// returns the same list every time; the caller doesn't change it.
	Schemes() []string

	// Dial connects to addr. It returns when ctx ends at the latest; once it has
	// returned, ctx no longer matters to the connection. An address it cannot
	// use gives an *AddrError. addr is not changed and not kept.
	Dial(ctx context.Context, addr *url.URL) (net.Conn, error)

	// Listen accepts connections at addr until the listener is closed. ctx
	// bounds only the call itself. An address it cannot use gives an *AddrError.
	// addr is not changed and not kept.
	Listen(ctx context.Context, addr *url.URL) (net.Listener, error)
}

// TryWriter is a connection, or a view of one, that can be written without ever
// blocking. [MemConn] and [RawConn] are such.
type TryWriter interface {
	// TryWrite writes as much of b as fits right now and returns how much that
	// was; 0 and a nil error mean that nothing fits. It never waits. With an
	// error, the first n bytes were taken and the connection's writing side is
	// of no more use, unless the error is os.ErrDeadlineExceeded. b is not kept.
	//
	// The caller serializes calls, and doesn't call it while a Write on the same
	// connection runs.
	TryWrite(b []byte) (n int, err error)
}

// TurnReader is a connection of which a caller that is alone may read its answer itself, and whose reader may run a lone handler, as
// it is with sockets. SetReadDeadline with a time that has passed has to end a Read at once, without losing anything, and what comes while nobody
// reads has to wait.
type TurnReader interface {
	TryWriter
	// ReadInTurns says that it is one.
	ReadInTurns()
}

// Socket is a connection, or a view of one, that can be written to without blocking and waits for data without holding a
// buffer. [RawConn] is such, and says what each method does. Of others that make something else of a socket's
// bytes, SocketOf returns it.
type Socket interface {
	TryWriter
	Read(get func() []byte, put func([]byte)) (b []byte, n int, err error)
	WaitReadable() error
	// Raw returns the socket itself, whose readability is waited for.
	Raw() *RawConn
}

// SocketOf returns the Socket of c, or false when c has none: what its method Socket() (Socket, bool) returns, if it has one,
// else what Raw does.
func SocketOf(c net.Conn) (Socket, bool) {
	if c, ok := c.(interface{ Socket() (Socket, bool) }); ok {
		return c.Socket()
	}
	if raw, ok := Raw(c); ok {
		return raw, true
	}
	return nil, false
}
