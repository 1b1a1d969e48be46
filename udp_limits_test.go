package flyrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

// What doesn't fit a datagram is refused, and the connection goes on.
func TestUDPOversize(t *testing.T) {
	ctx := udpContext(t)
	srv := NewServer(nil)
	srv.OnMessage("/len", func(b []byte) int { return len(b) })
	srv.OnMessage("/make", func(n int) []byte { return make([]byte, n) })
	srv.OnMessage("/fail", func(n int) error { return Errorf(Conflict, "%s", strings.Repeat("m", n)) })
	srv.OnMessage("/code", func(n int) error { return Errorf(Code(strings.Repeat("C", n)), "message") })
	srv.OnMessage("/items", func() iter.Seq2[int, error] { return func(func(int, error) bool) {} })
	cli, err := Dial(ctx, listenUDP(t, srv), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	refused := func(what string, err error, code Code, delivery Delivery) {
		t.Helper()
		if !errors.Is(err, code) || Outcome(err) != delivery {
			t.Errorf("%s: %v, %v; want %s, %v", what, err, Outcome(err), code, delivery)
		}
	}
	long := make([]byte, 2000)
	refused("a long message in a call", cli.Call(ctx, "/len", long, nil), TooLong, NotSent)
	refused("a long message", cli.SendMessage(ctx, "/len", long), TooLong, NotSent)
	refused("a long path", cli.Call(ctx, "/"+strings.Repeat("p", 1200), nil, nil), TooLong, NotSent)
	refused("a long reply", cli.Call(ctx, "/make", 2000, nil), TooLong, Answered)
	refused("a handler that yields items", cli.Call(ctx, "/items", nil, nil), BadRequest, NotProcessed)
	_, err = cli.OpenStream(ctx, "/items", nil)
	refused("a stream", err, BadRequest, NotSent)
	err = cli.Call(ctx, "/len", strings.NewReader("reader"), nil)
	refused("a reader", err, BadRequest, NotSent)
	refused("a long packet", cli.Conn().SendPacket(&Packet{Code: "/len", Sequence: 9, Payload: long}), TooLong, NotSent)
	refused("a long raw packet", cli.Conn().SendRawPacket(&Packet{Code: "/len", Sequence: 9, Payload: long}), TooLong, NotSent)
	err = cli.Call(ctx, "/fail", 3000, nil)
	refused("a long error", err, Conflict, Answered)
	var e *Error
	if !errors.As(err, &e) || len(e.Message) < 1000 {
		t.Errorf("the message has %d bytes", len(e.Message))
	}
	refused("a long code", cli.Call(ctx, "/code", 3000, nil), Failed, Answered)
	if err := srv.Broadcast("/x", long); !errors.Is(err, TooLong) {
		t.Errorf("a long broadcast: %v", err)
	}
	for n := range 2 * transport.UDPMaxPacket { // whatever the size, a call has an answer
		got, err := Call[[]byte](ctx, cli, "/make", n)
		if fits := n <= transport.UDPMaxPacket-datagramHeader-5; fits && len(got) != n || !fits && n > transport.UDPMaxPacket && !errors.Is(err, TooLong) {
			t.Fatalf("a reply of %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	if p := cli.Conn().PeerInfo(); p.Version != 2 || p.MaxFrame != transport.UDPMaxPacket-datagramHeader || p.MaxCalls != datagramCalls {
		t.Errorf("%+v", p)
	}
}

// Streams of a peer that doesn't know better are refused, and its other frames are dropped.
func TestUDPForeignStreams(t *testing.T) {
	end, _ := packetPipe()
	c := newDatagramConn(end, &limits{maxCalls: 1, keepaliveInterval: time.Second})
	defer c.Close()
	packet := func(flag Flag, seq uint16, code string) []byte { return appendHeader(nil, flag, seq, code, nil, 0) }
	for code, b := range map[Code][]byte{
		BadRequest:  packet(FlagStream|FlagWait, 5, "/items"),
		Unavailable: packet(FlagStream, 5, askCode),
	} {
		reply, mine := c.take(b)
		p, _, err := ParsePacket(reply, 1200)
		if mine || err != nil || p.Sequence != 5 || Code(p.Code) != code {
			t.Errorf("%x is answered %+v, %v", b, p, err)
		}
	}
	for _, b := range [][]byte{
		nil,
		{1},
		packet(FlagStream, 5, ""), packet(FlagStream|FlagResponse, 5, askCode), packet(FlagStream|FlagResponse, 5, "w"), packet(FlagResponse, 5, ""),
		packet(0, 0, "/message"), append(packet(FlagWait, 1, "/x"), 0), appendHeader(nil, FlagWait, 1, "/x", nil, 5),
	} {
		if reply, mine := c.take(b); reply != nil || mine {
			t.Errorf("%x is taken, and answered %x", b, reply)
		}
	}
	refusal := func(b []byte, want string) {
		t.Helper()
		reply, mine := c.take(b)
		if p, _, err := ParsePacket(reply, 1200); mine || err != nil || p.Code != want {
			t.Errorf("%x is answered %+v, %v", b, p, err)
		}
	}
	for seq := range uint16(1 + maxPings) {
		if _, mine := c.take(packet(FlagWait, 1+seq, "/x")); !mine {
			t.Fatalf("request %d isn't taken", seq)
		}
	}
	refusal(packet(FlagWait, 1, "/x"), askCode) // it runs
	refusal(packet(FlagStream, 1, askCode), askCode)
	refusal(packet(FlagWait, 1000, "/x"), string(Busy))
	refusal(packet(FlagStream, 1000, askCode), string(Busy))
}

func TestUDPHandshake(t *testing.T) {
	ctx := udpContext(t)
	long := strings.Repeat("x", 1200)
	srv := NewServer(&ServerOpts{Info: long})
	addr := listenUDP(t, srv)
	cli, err := Dial(ctx, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cli.Conn().PeerInfo().Info != nil {
		t.Error("what doesn't fit was sent")
	}
	cli.Close()
	for name, c := range map[string]struct {
		addr string
		opts ClientOpts
		code Code
		says string
	}{
		"long credentials": {addr, ClientOpts{Auth: map[string]string{"key": long}}, TooLong, "over UDP at most 1166"},
		"no hello":         {addr, ClientOpts{NoHello: true}, BadRequest, "no version 1"},
		"TLS":              {addr, ClientOpts{TLS: &tls.Config{}}, BadRequest, "is UDP without TLS: write tls://"},
		"wrong address":    {"udp://localhost", ClientOpts{}, Unavailable, "no port"},
		"other serializer": {addr, ClientOpts{Serializer: named{"none"}}, BadRequest, "none of the serializers"},
	} {
		cli, err := Dial(ctx, c.addr, &c.opts)
		if err == nil {
			cli.Close()
		}
		if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// named is a serializer that no server has.
type named struct{ name string }

func (n named) Name() string                         { return n.name }
func (named) Encode(b []byte, _ any) ([]byte, error) { return b, nil }
func (named) Decode([]byte, any) error               { return nil }

var _ serializer.Serializer = named{}

// Nobody gets past Auth over UDP.
func TestUDPAuth(t *testing.T) {
	ctx := udpContext(t)
	var ran atomic.Int32
	srv := NewServer(&ServerOpts{AllowV1: true, Auth: func(_ context.Context, c *Credentials) (any, error) {
		var auth struct{ Key string }
		if err := c.Decode(&auth); err != nil {
			return nil, err
		}
		if auth.Key != "right" {
			return nil, errors.New("wrong key")
		}
		if a, err := netip.ParseAddrPort(c.RemoteAddr.String()); err != nil || !a.Addr().IsLoopback() || c.Version != 2 {
			t.Errorf("%+v", c)
		}
		return auth.Key, nil
	}})
	srv.OnMessage("/who", func(ctx *Context) string { ran.Add(1); return ctx.Conn().Identity().(string) })
	addr := listenUDP(t, srv)
	for _, auth := range []any{nil, map[string]string{"Key": "wrong"}} {
		cli, err := Dial(ctx, addr, &ClientOpts{Auth: auth})
		if err == nil {
			cli.Close()
		}
		if !errors.Is(err, Unauthenticated) {
			t.Errorf("with %v: %v", auth, err)
		}
	}
	table, _ := transport.NewTable()
	nc, err := table.Dial(ctx, addr) // and says no hello
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for range 3 {
		b, _ := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 1, Code: "/who"})
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	_ = nc.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := nc.Read(make([]byte, 2000)); err == nil {
		t.Errorf("%d bytes came of a call without hello", n)
	}
	cli, err := Dial(ctx, addr, &ClientOpts{Auth: map[string]string{"Key": "right"}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if who, err := Call[string](ctx, cli, "/who", nil); who != "right" || err != nil || ran.Load() != 1 {
		t.Errorf("%q, %v, ran %d times", who, err, ran.Load())
	}
}

func TestUDPMaxConns(t *testing.T) {
	ctx := udpContext(t)
	for name, opts := range map[string]*ServerOpts{"MaxConns": {MaxConns: 2}, "MaxConnsPerAddr": {MaxConnsPerAddr: 2}} {
		addr := listenUDP(t, NewServer(opts))
		for i := range 3 {
			cli, err := Dial(ctx, addr, nil)
			if err == nil {
				defer cli.Close()
			}
			if i < 2 && err != nil || i == 2 && !errors.Is(err, Busy) {
				t.Errorf("%s: client %d: %v", name, i, err)
			}
		}
	}
}

// With TLS configured, UDP is served only if that was allowed.
func TestUDPAndTLS(t *testing.T) {
	ctx := udpContext(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{transporttest.NewAuthority(t).Certificate(t, "server")}}
	srv := NewServer(&ServerOpts{TLS: cfg})
	var addrErr *transport.AddrError
	if err := srv.Listen("udp://127.0.0.1:0"); !errors.As(err, &addrErr) || !strings.Contains(err.Error(), "AllowPlain") {
		t.Errorf("Listen: %v", err)
	}
	lostConn := make(chan error, 1)
	srv = NewServer(&ServerOpts{TLS: cfg, OnLostConn: func(_ net.Addr, err error) { lostConn <- err }})
	addr := listenUDP(t, srv)
	cli, err := Dial(ctx, addr, nil)
	if err == nil {
		cli.Close()
		t.Error("a client came in without TLS")
	}
	if err := <-lostConn; !strings.Contains(err.Error(), "AllowPlain") {
		t.Errorf("%v", err)
	}
	srv = NewServer(&ServerOpts{TLS: cfg, AllowPlain: true})
	if cli, err = Dial(ctx, listenUDP(t, srv), nil); err != nil {
		t.Fatal(err)
	}
	cli.Close()
}

// A client whose address changes, as it does behind some routers, finds the connection dead and dials again.
func TestUDPRebind(t *testing.T) {
	ctx := udpContext(t)
	srv := NewServer(nil)
	srv.OnMessage("/x", func() {})
	cli, p := throughFaults(t, srv, netfault.DatagramFaults{}, &ClientOpts{KeepaliveInterval: 500 * time.Millisecond})
	if err := cli.Call(ctx, "/x", nil, nil); err != nil {
		t.Fatal(err)
	}
	p.Rebind()
	if err := cli.Call(ctx, "/x", nil, nil); !errors.Is(err, Unavailable) || Outcome(err) != Unknown {
		t.Errorf("%v, %v", err, Outcome(err))
	}
	if err := cli.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cli.Call(ctx, "/x", nil, nil); err != nil {
		t.Error(err)
	}
}

// A call is one datagram each way, and so one system call to send and one to receive at each end.
func TestUDPDatagramsPerCall(t *testing.T) {
	ctx := udpContext(t)
	srv := NewServer(nil)
	srv.OnMessage("/x", func(s string) string { return s })
	var datagrams atomic.Int32
	cli, _ := throughFaults(t, srv, netfault.DatagramFaults{Sees: func(bool, []byte) bool { datagrams.Add(1); return true }}, nil)
	before := datagrams.Load()
	const calls = 200
	for range calls {
		if err := cli.Call(ctx, "/x", "hello", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := datagrams.Load() - before; n < 2*calls || n > 2*calls+calls/5 {
		t.Errorf("%d calls took %d datagrams", calls, n)
	}
}

// Broadcasts reach clients over UDP, among others.
func TestUDPBroadcast(t *testing.T) {
	ctx := udpContext(t)
	srv := NewServer(nil)
	addr := listenUDP(t, srv)
	got := make(chan string, 2)
	for range 2 {
		cli, err := Dial(ctx, addr, &ClientOpts{Serializer: jsonser.Serializer})
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		cli.OnMessage("/news", func(s string) { got <- s })
		if _, err := cli.Ping(0, time.Minute); err != nil { // so the server has it on its books
			t.Fatal(err)
		}
	}
	if err := srv.Broadcast("/news", "hello"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case s := <-got:
			if s != "hello" {
				t.Errorf("%q", s)
			}
		case <-ctx.Done():
			t.Fatal("the broadcast has not arrived")
		}
	}
}
