package flyrpc

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// waitConns waits until a server has n connections.
func waitConns(t *testing.T, srv *Server, n int) {
	if !eventually(func() bool { return len(srv.Conns()) == n }) {
		t.Fatalf("%d connections, want %d", len(srv.Conns()), n)
	}
}

// TestPathLikeLearnedCode: a path that would read as a learned code isn't sent, so nothing is taught by it.
func TestPathLikeLearnedCode(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) {
		srv.OnMessage("/a", func() string { return "a" })
		srv.OnMessage("/b", func() string { return "b" })
	})
	for range 3 { // teaches id 02
		if s, err := Call[string](bounded(t), p.cc, "/a", nil); s != "a" || err != nil {
			t.Fatal(s, err)
		}
	}
	for _, path := range []string{"\x01\x02/b", "\x01\x55", "\x01"} {
		wantFailed(t, p.cc.Call(bounded(t), path, nil, nil), BadRequest, NotSent)
		wantFailed(t, p.cc.SendMessage(bounded(t), path, nil), BadRequest, NotSent)
		if err := p.srv.Broadcast(path, nil); err == nil {
			t.Errorf("%q was broadcast", path)
		}
	}
	if s, err := Call[string](bounded(t), p.cc, "/a", nil); s != "a" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
}

// slowTry stops in its first write.
type slowTry struct {
	*transport.MemConn
	once     sync.Once
	in, gate chan struct{}
}

func (s *slowTry) TryWrite(b []byte) (int, error) {
	s.once.Do(func() { close(s.in); <-s.gate })
	return s.MemConn.TryWrite(b)
}

// TestSilentHelloShutdown: hello, the end of the silence before it and Shutdown at the same time don't
// lock up. It runs in real time: Shutdown waits for a mutex, at which the time of synctest stands still.
func TestSilentHelloShutdown(t *testing.T) {
	near, far := transport.Pipe(nil)
	st := &slowTry{MemConn: far, in: make(chan struct{}), gate: make(chan struct{})}
	srv := NewServer(nil)
	srv.OnConnect(func(*Context) error { return nil })
	served := make(chan error, 1)
	go func() { srv.ServeConn(st); served <- nil }()
	w := newWireEnd(t, near)
	time.Sleep(silentFor - 50*time.Millisecond)
	w.request(helloSequence, "fly.hello", plainHello)
	<-st.in // hello is being answered
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(ctx) }()
	time.Sleep(150 * time.Millisecond) // now the silence is over
	close(st.gate)
	<-down
	near.Close()
	_ = within(t, served)
}

// TestByeRefusesCompressed: a request that waits to be written isn't sent after bye, compressed or not.
func TestByeRefusesCompressed(t *testing.T) {
	for method, message := range map[ZipMethod]string{
		ZipNone: noise(60 << 10),
		ZipZstd: noise(60<<10) + strings.Repeat("a", 20<<10),
	} {
		synctest.Test(t, func(t *testing.T) {
			cli, w := clientWire(t, &ClientOpts{MaxQueued: 100 << 10, Zip: Zip{Body: method}})
			go cli.Connect(t.Context())
			w.serverHello(`{"flyrpc":2,"serializers":["json"],"inflate":["zstd"],"codes":0,"messages":10000000}`)
			synctest.Wait()
			c := cli.Conn()
			for range 4 { // the peer doesn't read: the pipe, the writer and the queue have one each
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_ = c.SendMessage(ctx, "/fill", []byte(noise(60<<10)))
				cancel()
			}
			late := make(chan error, 1)
			go func() { late <- c.Call(t.Context(), "/late", []byte(message), nil) }()
			synctest.Wait() // it waits for room
			w.send(Packet{Code: "fly.bye"})
			synctest.Wait()
			for range 3 { // now the peer reads
				if p := w.recv(); p.Code != "/fill" {
					t.Errorf("%v: %q was sent after bye", method, p.Code)
				}
			}
			wantFailed(t, <-late, Unavailable, NotSent)
		})
	}
}

// TestBroadcastForms: what a broadcast shares between connections is what each of them can read.
func TestBroadcastForms(t *testing.T) {
	srv := quietServer(t, &ServerOpts{Zip: Zip{Body: ZipZstd, Code: ZipZstd}})
	a := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"codes":0,"inflate":["zstd"]}`)
	waitConns(t, srv, 1)
	b := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"codes":0}`)
	waitConns(t, srv, 2)
	rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"codes":0,"inflate":["zstd"],"message":3000}`)
	waitConns(t, srv, 3)
	path := "/" + strings.Repeat("segment/", 20)
	if err := srv.Broadcast(path, "x"); err != nil {
		t.Fatal(err)
	}
	if p := a.recv(); p.Flag&FlagZipCode == 0 {
		t.Errorf("got flags %#x", uint8(p.Flag))
	}
	if p := b.recv(); p.Flag&FlagZipCode != 0 || p.Code != path {
		t.Errorf("a peer that inflates nothing got flags %#x, code %q", uint8(p.Flag), p.Code)
	}
	if err := srv.Broadcast("/x", strings.Repeat("x", 10_000)); err == nil || !strings.Contains(err.Error(), "connection 3") {
		t.Errorf("10,000 bytes went to a peer that takes 3,000: %v", err)
	}
}

// TestPacketIsCopy: whatever its size and its route, the handler's packet is a copy, and OnRawPacket and OnPacket have
// one each.
func TestPacketIsCopy(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) {
		srv.Use(func(next Handler) Handler {
			return func(c *Context) (any, error) {
				clear(c.Packet().Payload)
				return next(c)
			}
		})
		count := func(b []byte) int { return bytes.Count(b, []byte("x")) }
		srv.OnMessage("/x", count)
		srv.OnMessage("/o", count, Ordered)
	})
	for _, path := range []string{"/x", "/o"} {
		for _, n := range []int{1000, 20000, 100_000} {
			if got, err := Call[int](bounded(t), p.cc, path, bytes.Repeat([]byte("x"), n)); got != n {
				t.Errorf("%s, %d bytes: the handler saw %d, %v", path, n, got, err)
			}
		}
	}
	got := make(chan string, 1)
	p.sc.OnRawPacket(func(p *Packet) bool { clear(p.Payload); return false })
	p.sc.OnPacket(func(p *Packet) bool { got <- string(p.Payload); return true })
	if err := p.cc.SendMessage(bounded(t), "/y", "hello"); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("OnPacket got %q", s)
	}
}

// TestTeachingManyPaths: as many paths as the other end keeps are taught when they come again, in whatever order.
func TestTeachingManyPaths(t *testing.T) {
	for _, n := range []int{1, 32, 64, 126} {
		tt := taught{limit: maxLearned}
		for range 3 {
			for i := range n {
				tt.code(fmt.Sprintf("/service/method%d", i))
			}
		}
		if len(tt.codes) != n {
			t.Errorf("%d paths, each written 3 times in turn: %d taught", n, len(tt.codes))
		}
	}
}
