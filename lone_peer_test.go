package flyrpc

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lonePeer is a server over a socket that answers hello and echoes requests, as its
// answer function changes them, and a client that has become a lone caller of it.
type lonePeer struct {
	cli    *Client
	answer atomic.Pointer[func(*Packet) []Packet]
}

// newLonePeer starts a peer of version 1 if hello is empty.
func newLonePeer(t *testing.T, hello string, co *ClientOpts) *lonePeer {
	t.Helper()
	near, far := tcpPair(t)
	p := new(lonePeer)
	served := make(chan struct{})
	go func() {
		defer close(served)
		p.serve(t, far, hello)
	}()
	co.Logger = new(pairLog).logger()
	p.cli = NewClientConn(near, co)
	t.Cleanup(func() {
		p.cli.Close()
		far.Close()
		await1(t, served, "the peer")
		await1(t, p.cli.Conn().ended, "the client's reader to end")
	})
	return p
}

func (p *lonePeer) serve(t *testing.T, conn net.Conn, hello string) {
	proto := NewProtocol(conn, nil)
	defer proto.Close()
	for {
		pkt, err := proto.ReadPacket()
		if err != nil {
			return
		}
		answers := []Packet{{Flag: FlagResponse, Sequence: pkt.Sequence, Payload: pkt.Payload}}
		if pkt.Code == helloPath {
			answers[0].Payload = []byte(hello)
			if hello == "" {
				answers[0] = Packet{Flag: FlagResponse, Sequence: pkt.Sequence, Code: "NOT_FOUND", Payload: []byte("no")}
			}
		} else if f := p.answer.Load(); f != nil {
			answers = (*f)(&answers[0])
		}
		var b []byte
		for i := range answers {
			if b, err = AppendPacket(b, &answers[i]); err != nil {
				t.Error(err)
			}
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// ask makes a call while the client counts as a lone caller, and answers it with change.
func (p *lonePeer) ask(t *testing.T, change func(*Packet) []Packet) (*Packet, error) {
	t.Helper()
	p.answer.Store(nil)
	if err := p.cli.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	c := p.cli.Conn()
	lone := eventually(func() bool {
		for range 50 {
			if _, err := c.SendRequest(t.Context(), "/a", []byte("hi")); err != nil {
				t.Fatal(err)
			}
		}
		return c.turn.idle()
	})
	if !lone {
		t.Fatal("the caller doesn't count as alone")
	}
	p.answer.Store(&change)
	defer p.answer.Store(nil)
	return c.SendRequest(bounded(t), "/a", []byte("hi"))
}

// peerHellos are a version 1 and a version 2 peer's.
var peerHellos = []string{"", `{"flyrpc":2,"serializers":["json"],"codes":0}`}

// TestLoneCallerOfLongAnswer has answers over the limit be made of packets: they must be
// skipped, not taken for what they look like.
func TestLoneCallerOfLongAnswer(t *testing.T) {
	for _, hello := range peerHellos {
		p := newLonePeer(t, hello, &ClientOpts{MaxMessage: 1000})
		p.cli.OnMessage("/admin", func() { t.Error("a payload was taken for a packet") })
		inner, err := AppendPacket(nil, &Packet{Code: "/admin"})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{2 * 9 << 10, 12 << 10} {
			long := []byte(strings.Repeat(string(inner), n/len(inner)))
			_, err := p.ask(t, func(pkt *Packet) []Packet { pkt.Payload = long; return []Packet{*pkt} })
			if !errors.Is(err, TooLong) {
				t.Errorf("%q, %d bytes: %v", hello, n, err)
			}
			if got, err := p.ask(t, func(pkt *Packet) []Packet { return []Packet{*pkt} }); err != nil || string(got.Payload) != "hi" {
				t.Errorf("after it: %+v, %v", got, err)
			}
		}
	}
}

// TestLoneCallerOfBadAnswer has a lone caller read what closes a connection.
func TestLoneCallerOfBadAnswer(t *testing.T) {
	p := newLonePeer(t, "", &ClientOpts{})
	_, err := p.ask(t, func(pkt *Packet) []Packet {
		pkt.Flag |= FlagMeta
		pkt.Meta = AppendMeta(nil, MetaNotProcessed, "", "")
		return []Packet{*pkt}
	})
	wantFailed(t, err, Unavailable, Unknown)
	await1(t, p.cli.Conn().Done(), "the connection to close")
}

// TestPushBehindAnswer has a message come in one piece with a lone caller's answer, and hold that
// it is handled although no other call follows.
func TestPushBehindAnswer(t *testing.T) {
	p := newLonePeer(t, peerHellos[1], &ClientOpts{})
	got := make(chan time.Time, 1)
	p.cli.OnMessage("/note", func() { got <- time.Now() })
	best := time.Hour
	for range 20 {
		_, err := p.ask(t, func(pkt *Packet) []Packet { return []Packet{*pkt, {Code: "/note", Payload: []byte("1")}} })
		begin := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, await1(t, got, "the message").Sub(begin))
	}
	if best >= watchTick { // then each waited for the watcher
		t.Errorf("the message was handled after %v at best", best)
	}
}
