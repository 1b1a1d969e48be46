// Package transport opens connections by URL.
//
// A [Transport] dials and listens for the URL schemes it names. A [Table] holds
// several and picks one by an address's scheme: TCP is built in, everything else
// is given by the program. [Mem] is a network inside the process, with faults a
// test can inject; [Raw] reaches the socket below a connection for writes that
// never block and reads that hold no buffer while they wait.
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
