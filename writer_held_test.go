package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// heldText is a text of n bytes that tells which, and becomes little smaller when it is compressed.
func heldText(id, n int) []byte {
	b, r := make([]byte, n), rand.New(rand.NewPCG(uint64(id), uint64(n)))
	for i := range b {
		b[i] = byte('0' + r.IntN(64))
	}
	return b
}

// heldConn is a connection whose reads wait while held isn't nil.
type heldConn struct {
	net.Conn
	held atomic.Pointer[chan struct{}]
}

func (c *heldConn) Read(b []byte) (int, error) {
	if held := c.held.Load(); held != nil {
		<-*held
	}
	return c.Conn.Read(b)
}

// TestHeldResponses: responses of all sizes and kinds that wait for a peer which doesn't read for a while come once and as they were, and
// nothing is left open.
func TestHeldResponses(t *testing.T) {
	for _, zip := range []ZipMethod{ZipNone, ZipZstd} {
		for _, end := range []string{"", "shutdown", "cut short", "close"} {
			t.Run(fmt.Sprint(zip, " ", end), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testHeldResponses(t, zip, end) })
			})
		}
	}
}

// heldCode is the code of the errors that are asked for.
const heldCode Code = "X"

// heldHandlers registers handlers that answer with what they are asked for, each in another way, when gate is closed.
func heldHandlers(srv *Server, gate <-chan struct{}) {
	srv.OnMessage("/bytes", func(m [2]int) []byte { <-gate; return heldText(m[0], m[1]) })
	srv.OnMessage("/text", func(m [2]int) string { <-gate; return string(heldText(m[0], m[1])) })
	srv.OnMessage("/json", func(m [2]int) []string { <-gate; return []string{string(heldText(m[0], m[1]))} })
	srv.OnMessage("/fails", func(m [2]int) error {
		<-gate
		return Errorf(heldCode, "%s", heldText(m[0], 10+m[1]%3000)).WithDetails(m)
	})
	srv.OnMessage("/items", func(ctx *Context, m [2]int, s *Stream) error {
		<-gate
		for range 3 {
			if err := s.Send(heldText(m[0], m[1])); err != nil {
				return err
			}
		}
		return Errorf(heldCode, "%s", heldText(m[0], 100))
	})
}

// heldCall makes the call id for n bytes and returns what has come and what was to come.
func heldCall(t *testing.T, c *Conn, id, n int) (got, want []byte, err error) {
	m, want := [2]int{id, n}, heldText(id, n)
	switch id % 5 {
	case 0:
		got, err = Call[[]byte](t.Context(), c, "/bytes", m)
	case 1:
		var s string
		s, err = Call[string](t.Context(), c, "/text", m)
		got = []byte(s)
	case 2:
		var s []string
		if s, err = Call[[]string](t.Context(), c, "/json", m); err == nil {
			got = []byte(s[0])
		}
	case 3:
		want = heldText(id, 10+n%3000)
		err = c.Call(t.Context(), "/fails", m, nil)
	case 4:
		items := 0
		for item, e := range Receive[[]byte](t.Context(), c, "/items", m) {
			if err = e; e == nil && !bytes.Equal(item, want) {
				t.Errorf("call %d: an item of %d bytes is %.20q", id, len(item), item)
			}
			items++
		}
		if want = heldText(id, 100); items != 4 && errors.Is(err, heldCode) {
			t.Errorf("call %d: %d items", id, items)
		}
	}
	var e *Error
	if errors.As(err, &e) && e.Code == heldCode {
		return []byte(e.Message), want, nil
	}
	return got, want, err
}

func testHeldResponses(t *testing.T, zip ZipMethod, end string) {
	const calls = 120
	gate, reads := make(chan struct{}), make(chan struct{})
	up, down := transport.Pipe(nil)
	held, p := &heldConn{Conn: up}, new(pair)
	opts := &ServerOpts{MaxQueued: 100_000, Zip: Zip{Body: zip, MinBody: 100}, WriteTimeout: time.Hour}
	p.connect(t, held, down, opts, nil, func(srv *Server, _ *Client) { heldHandlers(srv, gate) })
	var wg sync.WaitGroup
	for id := range calls {
		wg.Go(func() {
			sizes := []int{0, 10, 1000, 9000, largeBody - 20, largeBody, largeBody + 1, 40_000, 60_000, 70_000, 150_000}
			got, want, err := heldCall(t, p.cc, id, sizes[rand.N(len(sizes))])
			cut := end == "cut short" || end == "close"
			if err != nil && (!cut || !errors.Is(err, Unavailable)) || err == nil && !bytes.Equal(got, want) {
				t.Errorf("call %d: %d bytes, %.20q; want %d, %.20q; %v", id, len(got), got, len(want), want, err)
			}
		})
	}
	synctest.Wait()
	held.held.Store(&reads)
	fill, filled := context.WithCancel(t.Context())
	wg.Go(func() {
		for p.sc.SendMessage(fill, "/fills", heldText(calls, 10_000)) == nil {
			continue
		}
	})
	synctest.Wait()
	close(gate)
	filled()
	synctest.Wait()
	w := &p.sc.proto.out
	w.mu.Lock()
	if len(w.waiting) < 8 || w.queued > 200_000 { // those that come together see room together
		t.Errorf("%d responses wait, %d bytes are queued", len(w.waiting), w.queued)
	}
	w.mu.Unlock()
	endHeld(t, p, &wg, end)
	held.held.Store(nil)
	close(reads)
	wg.Wait()
	synctest.Wait()
	wantEmpty(t, "server", p.sc)
	if w.waiting != nil {
		t.Errorf("%d responses wait", len(w.waiting))
	}
}

// endHeld begins to end the server while responses wait.
func endHeld(t *testing.T, p *pair, wg *sync.WaitGroup, end string) {
	switch end {
	case "shutdown":
		wg.Go(func() {
			if err := p.srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	case "cut short":
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := p.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		time.Sleep(5500 * time.Millisecond)
	case "close":
		p.srv.Close()
	}
	time.Sleep(100 * time.Millisecond)
}

// TestHeldRefusals: requests that are refused before their handlers start hold no goroutine either while the other end doesn't read.
func TestHeldRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const refused = 20
		srv, _ := newLogServer(t, &ServerOpts{MaxQueued: 100})
		srv.OnMessage("/big", func() []byte { return make([]byte, 60_000) })
		peer := rawClient(t, srv, textHello)
		for seq := range uint16(3) {
			peer.send(rawRequest(seq+1, "/big", ""))
			synctest.Wait()
		}
		for seq := range uint16(refused) {
			q := rawRequest(seq+10, "/big", "")
			q.Meta = timeoutMeta(0)
			peer.send(q)
		}
		synctest.Wait()
		c := srv.Conns()[0]
		if n := len(c.proto.out.waiting); n < refused {
			t.Errorf("%d refusals wait without a goroutine", n)
		}
		for range 3 {
			if a := peer.recv(); len(a.Payload) != 60_000 {
				t.Errorf("%+v", a)
			}
		}
		for range refused {
			if a := peer.recv(); a.Code != string(Timeout) || !metaHas(a, MetaNotProcessed) {
				t.Errorf("%+v", a)
			}
		}
		wantEmpty(t, "server", c)
	})
}
