package natsbus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/service"
)

// certificate returns a certificate for 127.0.0.1 and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tlsServer starts a server with TLS and the user ada for one test, and returns its address and what has a client trust it.
func tlsServer(t *testing.T) (url string, trust nats.Option) {
	t.Helper()
	cert, pool := certificate(t)
	srv := broker(t, &server.Options{
		Username: "ada", Password: "secret",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, TLSTimeout: 10,
	})
	return srv.ClientURL(), nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
}

// broker runs a server, on a port of its own.
func broker(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(startTime) {
		t.Fatal("not ready")
	}
	return srv
}

// Connect reaches a server with TLS and credentials, as nats.go does, and fails without them.
func TestConnectTLS(t *testing.T) {
	url, trust := tlsServer(t)
	b, err := Connect(url, nil, trust, nats.UserInfo("ada", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if state, err := b.Conn().TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Errorf("no TLS: %v", err)
	}
	for name, opts := range map[string][]nats.Option{
		"without a password": {trust}, "without trust": {nats.UserInfo("ada", "secret")},
		"with a wrong password": {trust, nats.UserInfo("ada", "x")},
	} {
		if b, err := Connect(url, nil, opts...); err == nil {
			b.Close()
			t.Errorf("connected %s", name)
		}
	}
}

// The end of a connection is the end of its Bus, and the end of a Bus isn't that of a connection it was given.
func TestWhoseConnection(t *testing.T) {
	s := embedded(t, nil)
	nc := connTo(t, s)
	var buses []*Bus
	for range 2 {
		b, err := New(nc, quiet())
		if err != nil {
			t.Fatal(err)
		}
		buses = append(buses, b)
	}
	sub, err := buses[1].Subscribe(service.Subscribe{Subject: "a", Handler: func(*service.Message) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := buses[0].Close(); err != nil || nc.IsClosed() {
		t.Errorf("closing a Bus has closed a connection that isn't its own, or failed: %v", err)
	}
	nc.Close()
	eventually(t, "end of the Bus", func(context.Context) bool {
		return errors.Is(buses[1].Publish(&service.Message{Subject: "a"}), service.ErrBusClosed)
	})
	if err := buses[1].Flush(t.Context()); !errors.Is(err, service.ErrBusClosed) {
		t.Errorf("Flush: %v", err)
	}
	if _, err := buses[1].Subscribe(service.Subscribe{Subject: "a"}); !errors.Is(err, service.ErrBusClosed) {
		t.Errorf("Subscribe: %v", err)
	}
	if _, err := buses[1].Consume(service.Consume{Subject: "a", Name: "a", Concurrent: 1, AckWait: time.Second}); !errors.Is(err, service.ErrBusClosed) {
		t.Errorf("Consume: %v", err)
	}
	if err := errors.Join(sub.Drain(t.Context()), sub.Close(), buses[1].Close()); err != nil {
		t.Errorf("ending what has ended: %v", err)
	}
	if _, err := New(nc, nil); !errors.Is(err, service.ErrBusClosed) {
		t.Errorf("New: %v", err)
	}
	own := busOn(t, s, nil)
	own.Close()
	if !own.Conn().IsClosed() {
		t.Error("a Bus has left its own connection open")
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("a Bus without a connection")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Bus(nil); err == nil {
		t.Error("a Bus of a server that is closed")
	}
}

// What is published while the connection is lost waits, subscriptions are there again afterwards, and the log says so.
func TestReconnect(t *testing.T) {
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	proxy, err := netfault.Listen(strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	var log lockedBuffer
	opts := &Opts{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	b, err := Connect("nats://"+proxy.Addr(), opts, nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var got seen
	if _, err := b.Subscribe(service.Subscribe{Subject: "a", Handler: func(m *service.Message) { got.add(string(m.Data)) }}); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Set(netfault.Faults{Refuse: true}); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	eventually(t, "loss of the connection", func(context.Context) bool { return b.Conn().IsReconnecting() })
	if err := b.Publish(&service.Message{Subject: "a", Data: []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush without a connection: %v", err)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message that was published meanwhile", func(context.Context) bool { return got.count("kept") == 1 })
	eventually(t, "log of the loss and the end of it", func(context.Context) bool {
		return strings.Contains(log.String(), "the connection is lost") && strings.Contains(log.String(), "connected again")
	})
}

// A handler that is too slow loses messages, which is counted, told and logged, also when more are lost later; others go on.
func TestSlowConsumer(t *testing.T) {
	s := embedded(t, nil)
	var log lockedBuffer
	b := busOn(t, s, &Opts{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	var dropped, handled atomic.Int64
	var others seen
	hold := make(chan struct{})
	_, err := b.Subscribe(service.Subscribe{
		Subject: "a", Queue: "slow", Pending: 5, PendingBytes: 1,
		Handler: func(*service.Message) { <-hold; handled.Add(1) },
		Dropped: func(n uint64) { dropped.Add(int64(n)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(service.Subscribe{Subject: "a", Handler: func(m *service.Message) { others.add("") }}); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for range 50 {
			if err := b.Publish(&service.Message{Subject: "a", Data: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		want := int64(50*(round+1)) - 6 // one is handled, and five wait
		eventually(t, "count of what was dropped", func(context.Context) bool { return dropped.Load() == want })
	}
	close(hold)
	eventually(t, "handling of the rest", func(context.Context) bool { return handled.Load() == 6 && others.count("") == 100 })
	if text := log.String(); !strings.Contains(text, "subject=a queue=slow dropped=") {
		t.Errorf("logged %s", text)
	}
}

// What was published when a Bus is closed goes out.
func TestCloseFlushes(t *testing.T) {
	s := embedded(t, nil)
	to := busOn(t, s, quiet())
	var got seen
	if _, err := to.Subscribe(service.Subscribe{Subject: "a", Handler: func(m *service.Message) { got.add(string(m.Data)) }}); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		b := busOn(t, s, quiet())
		for j := range 20 {
			if err := b.Publish(&service.Message{Subject: "a", Data: fmt.Append(nil, i, " ", j)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "message of each that was closed", func(context.Context) bool { return got.size() == 50*20 })
}

func TestKnownErrors(t *testing.T) {
	for from, want := range map[error]error{
		nats.ErrConnectionClosed: service.ErrBusClosed, nats.ErrConnectionDraining: service.ErrBusClosed,
		nats.ErrMaxPayload: service.ErrTooLarge, nats.ErrTimeout: nats.ErrTimeout,
	} {
		if got := known(from); !errors.Is(got, want) || !errors.Is(got, from) {
			t.Errorf("%v becomes %v", from, got)
		}
	}
	b := busOn(t, embedded(t, nil), quiet())
	if _, err := b.Subscribe(service.Subscribe{Subject: "a", Queue: "b c"}); !errors.Is(err, service.ErrBadSubject) {
		t.Errorf("a queue with a space: %v", err)
	}
}
