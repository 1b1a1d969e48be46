package transporttest_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

// Named is the Transport for "named://orders": services of one machine that find each
// other by name. A listener takes any free port of TCP and writes it to a file in Dir
// that has the service's name; whoever dials reads that file.
type Named struct {
	Dir string
}

// Schemes returns "named".
func (Named) Schemes() []string { return []string{"named"} }

// Dial connects to the service that addr names.
func (n Named) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	file, err := n.file(addr)
	if err != nil {
		return nil, err
	}
	port, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("dialling %s, which nobody serves: %w", addr, err)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", string(port))
}

// Listen takes a free port, and the name of addr until the listener is closed.
func (n Named) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	file, err := n.file(addr)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(l.Addr().String()), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening on %s: %w", addr, err)
	}
	return &listener{Listener: l, file: file}, nil
}

// file returns where the port of a service is written.
func (n Named) file(addr *url.URL) (string, error) {
	if addr.Host == "" || *addr != (url.URL{Scheme: addr.Scheme, Host: addr.Host}) || !filepath.IsLocal(addr.Host) {
		return "", &transport.AddrError{Addr: addr.Redacted(), Problem: "write named:// and a name, and nothing else"}
	}
	return filepath.Join(n.Dir, addr.Host), nil
}

// listener gives its name back when it is closed, once.
type listener struct {
	net.Listener
	file   string
	closed atomic.Bool
}

func (l *listener) Close() error {
	if !l.closed.Swap(true) {
		os.Remove(l.file)
	}
	return l.Listener.Close()
}

// TestNamed checks everything that FlyRPC asks of a Transport.
func TestNamed(t *testing.T) {
	var names atomic.Int32
	transporttest.Run(t, transporttest.Config{
		Transport:  Named{Dir: t.TempDir()},
		Addr:       func(testing.TB) string { return fmt.Sprintf("named://service-%d", names.Add(1)) },
		WrongAddrs: []string{"named://", "named://..", "named://a/b", "named://me@a", "named://a?b"},
	})
}
