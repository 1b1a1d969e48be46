//go:build linux

package transporttest

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
)

// packets is a transport of packets over the system's sockets.
type packets struct {
	conn func(net.Conn) net.Conn // what becomes of connections at both ends
}

func (packets) Schemes() []string { return []string{"packets"} }

func (p packets) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", addr.Path)
	if err != nil {
		return nil, err
	}
	return p.conn(c), nil
}

func (p packets) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unixpacket", addr.Path)
	if err != nil {
		return nil, err
	}
	return packetListener{l, p}, nil
}

type packetListener struct {
	net.Listener
	p packets
}

func (l packetListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.p.conn(c), nil
}

const largest = 1200

// packetConn bounds what it sends.
type packetConn struct{ *net.UnixConn }

func (c packetConn) Write(b []byte) (int, error) {
	if len(b) > largest {
		return 0, &net.OpError{Op: "write", Net: "packets", Err: os.ErrInvalid}
	}
	return c.UnixConn.Write(b)
}

func bounded(c net.Conn) net.Conn { return packetConn{c.(*net.UnixConn)} }

func packetConfig(conn func(net.Conn) net.Conn) Config {
	return Config{
		Transport: packets{conn},
		Addr:      func(t testing.TB) string { return "packets://" + filepath.Join(t.TempDir(), "s") },
		MaxPacket: largest,
		// A packet of no bytes can't be told from the end.
		NoHalfClose: true,
	}
}

func TestPackets(t *testing.T) { Run(t, packetConfig(bounded)) }

// lossyConn loses some packets and sends others late.
type lossyConn struct {
	net.Conn
	n    atomic.Int32
	late atomic.Pointer[[]byte]
}

func (c *lossyConn) Write(b []byte) (int, error) {
	if c.n.Add(1)%4 == 0 && len(b) <= largest {
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	late := append([]byte(nil), b...)
	if earlier := c.late.Swap(&late); earlier != nil && c.n.Load()%3 == 0 {
		_, _ = c.Conn.Write(*earlier)
	}
	return n, err
}

func TestUnreliablePackets(t *testing.T) {
	c := packetConfig(func(c net.Conn) net.Conn { return &lossyConn{Conn: bounded(c)} })
	c.Unreliable, c.Unordered = true, true
	Run(t, c)
	c.Unreliable, c.Unordered, c.Patience = false, false, shortPatience
	if failures, _ := record(t, c, "Packets"); failures == "" {
		t.Error("lost packets are not found")
	}
}

// cuttingConn sends less than it was given.
type cuttingConn struct{ net.Conn }

func (c cuttingConn) Write(b []byte) (int, error) {
	if len(b) <= 1000 {
		return c.Conn.Write(b)
	}
	_, err := c.Conn.Write(b[:1000])
	return len(b), err
}

func TestBrokenPackets(t *testing.T) {
	c := packetConfig(func(c net.Conn) net.Conn { return cuttingConn{c} })
	for check, says := range map[string]string{"Packets": "arrived as another", "PacketTooLong": "more than MaxPacket, 1200 bytes, succeeded"} {
		if failures, _ := record(t, c, check); !strings.Contains(failures, says) {
			t.Errorf("%s found %q, want %q", check, failures, says)
		}
	}
}

var _ transport.Transport = packets{}
