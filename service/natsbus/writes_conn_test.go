package natsbus

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/service"
)

// counting is a user's dialer.
type counting struct {
	net.Dialer
	dialed atomic.Int64
}

func (c *counting) Dial(network, address string) (net.Conn, error) {
	c.dialed.Add(1)
	return c.Dialer.Dial(network, address)
}

// withTLS is one whose connections have TLS.
type withTLS struct{ counting }

func (*withTLS) SkipTLSHandshake() bool { return true }

// The option leaves alone those connections that it says, and what dials is as the other options have it.
func TestWriteAtOnceOptions(t *testing.T) {
	apply := func(url string, opts ...nats.Option) nats.Options {
		o := nats.GetDefaultOptions()
		o.Servers = strings.Split(url, ",")
		for _, opt := range append(opts, WriteAtOnce()) {
			if err := opt(&o); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	const url = "nats://127.0.0.1:4222"
	for name, o := range map[string]nats.Options{
		"a size of the buffer": apply(url, nats.WriteBufferSize(1000)),
		"a server within":      apply(url, nats.InProcessServer(embedded(t, nil).srv)),
		"no limit for writing": apply(url, nats.FlusherTimeout(0)),
		"TLS by the dialer":    apply(url, nats.SetCustomDialer(&withTLS{})),
		"WebSocket":            apply("ws://127.0.0.1:80"),
		"WebSocket, also":      apply("a, WSS://127.0.0.1:443"),
	} {
		if _, ours := o.CustomDialer.(*dialer); ours || o.WriteBufferSize == 1 {
			t.Errorf("%s: changed", name)
		}
	}
	custom := &counting{}
	if o := apply(url, nats.SetCustomDialer(custom), nats.Dialer(&net.Dialer{})); o.CustomDialer.(*dialer).inner != custom || o.WriteBufferSize != 1 {
		t.Error("a custom dialer isn't used")
	}
	for name, tt := range map[string]struct {
		opts    []nats.Option
		timeout time.Duration
		paths   bool
	}{
		"none":         {nil, nats.DefaultTimeout, false},
		"no timeout":   {[]nats.Option{nats.Timeout(0)}, nats.DefaultTimeout, false},
		"a timeout":    {[]nats.Option{nats.Timeout(time.Hour)}, time.Hour, false},
		"a dialer":     {[]nats.Option{nats.Timeout(1), nats.Dialer(&net.Dialer{Timeout: time.Hour}), nats.MultipathTCP(true)}, time.Hour, true},
		"several ways": {[]nats.Option{nats.MultipathTCP(true)}, nats.DefaultTimeout, true},
	} {
		o := apply("wsserver:80", append(tt.opts, nats.FlusherTimeout(time.Second))...)
		d := o.CustomDialer.(*dialer)
		if inner := d.inner.(*net.Dialer); inner.Timeout != tt.timeout || inner.MultipathTCP() != tt.paths || d.timeout != time.Second {
			t.Errorf("%s: %v, %v, %v", name, inner.Timeout, inner.MultipathTCP(), d.timeout)
		}
	}
}

// Messages of all sizes come, also those before Close, with TLS and without, and answers do.
func TestConnectWrites(t *testing.T) {
	secure, trust := tlsServer(t)
	for url, opts := range map[string][]nats.Option{
		embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"}).URL(): nil,
		secure: {trust, nats.UserInfo("ada", "secret")},
	} {
		t.Run(url, func(t *testing.T) { testWrites(t, url, opts) })
	}
}

func testWrites(t *testing.T, url string, opts []nats.Option) {
	connect := func() *Bus {
		b, err := Connect(url, quiet(), opts...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	to := connect()
	defer to.Close()
	if _, err := to.Conn().Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	var got seen
	if _, err := to.Subscribe(service.Subscribe{Subject: "a", Handler: func(m *service.Message) { got.add(string(m.Data[:6])) }}); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const rounds, messages = 20, 50
	for i := range rounds {
		b := connect()
		sent := bytes.Repeat([]byte{byte(i)}, i*40_000)
		if m, err := b.Conn().Request("echo", sent, 10*time.Second); err != nil || !bytes.Equal(m.Data, sent) {
			t.Error("a request: ", err)
		}
		for j := range messages {
			data := fmt.Appendf(nil, "%02d %03d%*d", i, j, 1+j%7*j%5*2000, 0)
			if err := b.Publish(&service.Message{Subject: "a", Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "message of each that was closed", func(context.Context) bool { return got.size() == rounds*messages })
}

// proxied returns a Bus that connects by d, with a short patience, through a proxy, and what has come for the subject a.
func proxied(t *testing.T, d nats.CustomDialer) (*Bus, *netfault.Proxy, *seen) {
	t.Helper()
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	proxy, err := netfault.Listen(strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	b, err := Connect("nats://"+proxy.Addr(), quiet(), nats.SetCustomDialer(d), nats.ReconnectWait(time.Millisecond), nats.Timeout(500*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.FlusherTimeout(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	got := &seen{}
	if _, err := b.Subscribe(service.Subscribe{Subject: "a", Handler: func(m *service.Message) { got.add(string(m.Data)) }}); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, proxy, got
}

// comes publishes until something comes: nats.go tells nobody of what it has lost.
func comes(t *testing.T, b *Bus, got *seen) {
	t.Helper()
	eventually(t, "message over a new connection", func(context.Context) bool {
		_ = b.Publish(&service.Message{Subject: "a", Data: []byte("again")})
		return got.count("again") > 0
	})
}

// A server that doesn't read costs the connection, and another one is made.
func TestConnectServerDoesNotRead(t *testing.T) {
	d := &counting{}
	b, proxy, got := proxied(t, d)
	if err := proxy.Set(netfault.Faults{Hold: true}); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 64<<10)
	eventually(t, "loss of the connection", func(context.Context) bool {
		for range 100 {
			_ = b.Publish(&service.Message{Subject: "b", Data: large})
		}
		return d.dialed.Load() > 1
	})
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	comes(t, b, got)
}

// Connections that don't get through their handshake, which nats.go doesn't close, leave no goroutine behind: TestMain looks.
func TestConnectFailedHandshakes(t *testing.T) {
	d := &counting{}
	b, proxy, got := proxied(t, d)
	if err := proxy.Set(netfault.Faults{BlackHole: true}); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	eventually(t, "some attempts", func(context.Context) bool { return d.dialed.Load() > 4 })
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	comes(t, b, got)
}
