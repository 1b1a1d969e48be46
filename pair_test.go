package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// pairLog is what the two ends of a pair, or the end beside a rawPeer, have logged.
type pairLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *pairLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *pairLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *pairLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// want checks that something was logged.
func (l *pairLog) want(t testing.TB, text string) {
	t.Helper()
	if !eventually(func() bool { return strings.Contains(l.String(), text) }) {
		t.Errorf("no %q in the log:\n%s", text, l)
	}
}

// pair is a server and a client that are connected, with the two ends of the
// connection between them.
type pair struct {
	srv      *Server
	cli      *Client
	sc, cc   *Conn              // the server's and the client's connection
	down, up *transport.MemConn // nil over a socket
	log      *pairLog
}

// newPair connects a server and a client. setup, which may be nil, registers handlers.
func newPair(t testing.TB, so *ServerOpts, co *ClientOpts, setup func(srv *Server, cli *Client)) *pair {
	t.Helper()
	p := new(pair)
	p.up, p.down = transport.Pipe(nil)
	p.connect(t, p.up, p.down, so, co, setup)
	return p
}

// newTCPPair is newPair over a socket.
func newTCPPair(t testing.TB, setup func(srv *Server, cli *Client)) *pair {
	t.Helper()
	p := new(pair)
	up, down := tcpPair(t)
	p.connect(t, up, down, nil, nil, setup)
	return p
}

func (p *pair) connect(t testing.TB, up, down net.Conn, so *ServerOpts, co *ClientOpts, setup func(srv *Server, cli *Client)) {
	t.Helper()
	if so == nil {
		so = new(ServerOpts)
	}
	if co == nil {
		co = new(ClientOpts)
	}
	p.log = new(pairLog)
	so.Logger, co.Logger = p.log.logger(), p.log.logger()
	p.srv, p.cli = NewServer(so), NewClientConn(up, co)
	if setup != nil {
		setup(p.srv, p.cli)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		p.srv.ServeConn(down)
	}()
	t.Cleanup(func() {
		p.cli.Close()
		p.srv.Close()
		await1(t, served, "the connection to end")
		await1(t, p.cc.ended, "the client's reader to end")
	})
	if err := p.cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.cc = p.cli.Conn()
	if _, err := p.cli.Ping(0, patience); err != nil {
		t.Fatal(err)
	}
	p.sc = p.srv.Conns()[0]
}

// await1 waits for a channel, with patience.
func await1[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		t.Fatalf("waited for %s in vain", what)
	}
	return v
}

// bounded returns a context that ends before the test would hang.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually looks whether a condition comes true, with patience.
func eventually(condition func() bool) bool {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !condition(); <-ticker.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// wantEmpty checks that no call, slot or packet is left on a connection. It waits for
// handlers to come to their end.
func wantEmpty(t testing.TB, name string, c *Conn) {
	t.Helper()
	var used, pings, abandoned, waiting, open, count int
	empty := eventually(func() bool {
		c.calls.mu.Lock()
		used, pings, abandoned, waiting = c.calls.used, c.calls.pings, c.calls.abandoned, len(c.calls.waiting)+c.calls.wanted
		c.calls.mu.Unlock()
		c.in.mu.Lock()
		open = len(c.in.open) + len(c.in.early) + len(c.in.held) + len(c.in.ordered)
		c.in.mu.Unlock()
		count = c.in.count()
		return used+pings+abandoned+waiting+open+count == 0
	})
	if !empty {
		t.Errorf("%s: %d calls, %d pings, %d abandoned, %d waiting, %d requests open, %d packets handled", name, used, pings, abandoned, waiting, open, count)
	}
}

// wantFailed checks an error's code and outcome.
func wantFailed(t testing.TB, err error, code Code, d Delivery) {
	t.Helper()
	if !errors.Is(err, code) || Outcome(err) != d {
		t.Errorf("error %v, %v; want %s, %v", err, Outcome(err), code, d)
	}
}

// rawPeer is one end of a connection, version 2 if it has said hello, that speaks
// packets of the test's choice.
type rawPeer struct {
	t    testing.TB
	conn *transport.MemConn
	buf  []byte
}

// rawClient connects a rawPeer that has said hello to a server.
func rawClient(t testing.TB, srv *Server, hello string) *rawPeer {
	t.Helper()
	near, far := transport.Pipe(nil)
	p := &rawPeer{t: t, conn: near}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.ServeConn(far)
	}()
	t.Cleanup(func() {
		near.Close()
		await1(t, served, "the connection to end")
	})
	p.send(Packet{Flag: FlagWait, Sequence: 0xFFFF, Code: "fly.hello", Payload: []byte(hello)})
	if a := p.recv(); a.Flag&FlagResponse == 0 || a.Sequence != 0xFFFF || a.Code != "" {
		t.Fatalf("hello was answered %+v", a)
	}
	return p
}

// textHello is a hello that makes JSON the serializer.
const textHello = `{"flyrpc":2,"serializers":["json"],"codes":0}`

// newLogServer returns a server and what it logs.
func newLogServer(t testing.TB, so *ServerOpts) (*Server, *pairLog) {
	log := new(pairLog)
	if so == nil {
		so = new(ServerOpts)
	}
	so.Logger = log.logger()
	srv := NewServer(so)
	t.Cleanup(func() { srv.Close() })
	return srv, log
}

// rawServer connects a client to a rawPeer that answers hello with answer.
func rawServer(t testing.TB, co *ClientOpts, answer string) (*rawPeer, *Client, *pairLog) {
	t.Helper()
	log := new(pairLog)
	if co == nil {
		co = new(ClientOpts)
	}
	co.Logger = log.logger()
	near, far := transport.Pipe(nil)
	p := &rawPeer{t: t, conn: near}
	cli := NewClientConn(far, co)
	connected := make(chan error, 1)
	go func() { connected <- cli.Connect(bounded(t)) }()
	h := p.recv()
	p.send(Packet{Flag: FlagResponse, Sequence: h.Sequence, Payload: []byte(answer)})
	if err := await1(t, connected, "hello"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cli.Close()
		near.Close()
		await1(t, cli.Conn().ended, "the client's reader to end")
	})
	return p, cli, log
}

// jsonAnswer answers hello: JSON, with so many calls.
func jsonAnswer(calls int) string {
	b, _ := json.Marshal(map[string]any{"flyrpc": 2, "serializers": []string{"json"}, "calls": calls, "codes": 0})
	return string(b)
}

// send writes packets, in one write.
func (p *rawPeer) send(ps ...Packet) {
	p.t.Helper()
	var b []byte
	for i := range ps {
		var err error
		if b, err = AppendPacket(b, &ps[i]); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads the next packet, or says why there is none.
func (p *rawPeer) next() (Packet, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(2 * patience))
	for {
		pkt, n, err := ParsePacket(p.buf, 64<<20)
		if err == nil {
			pkt.Payload, pkt.Meta = bytes.Clone(pkt.Payload), bytes.Clone(pkt.Meta)
			p.buf = p.buf[n:]
			return pkt, nil
		}
		if !errors.Is(err, ErrShortPacket) {
			return pkt, err
		}
		b := make([]byte, 32<<10)
		n, err = p.conn.Read(b)
		p.buf = append(p.buf, b[:n]...)
		if err != nil {
			return pkt, err
		}
	}
}

// recv reads the next packet.
func (p *rawPeer) recv() Packet {
	p.t.Helper()
	pkt, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return pkt
}

// wantClosed reads until the other end has closed the connection.
func (p *rawPeer) wantClosed() {
	p.t.Helper()
	for {
		_, err := p.next()
		if err == io.EOF {
			return
		}
		if err != nil {
			p.t.Fatalf("the connection isn't closed: %v", err)
		}
	}
}

// rawRequest is a request's packet.
func rawRequest(seq uint16, path, payload string) Packet {
	return Packet{Flag: FlagWait, Sequence: seq, Code: path, Payload: []byte(payload)}
}

// rawAnswer is a response's packet.
func rawAnswer(seq uint16, payload string) Packet {
	return Packet{Flag: FlagResponse, Sequence: seq, Payload: []byte(payload)}
}

// rawCancel is the packet by which a caller gives up.
func rawCancel(seq uint16) Packet { return Packet{Flag: FlagStream, Sequence: seq, Code: "c"} }

// metaHas reports whether a packet's metadata has an entry.
func metaHas(p Packet, id MetaID) bool {
	for e, err := range ParseMeta(p.Meta) {
		if err == nil && e.ID == id {
			return true
		}
	}
	return false
}
