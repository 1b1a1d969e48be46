package flyrpc

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

// The flags of frames of an open call: of its caller, of its callee, and of a piece of what opens one.
const (
	fromCaller = FlagStream
	fromCallee = FlagStream | FlagResponse
	opening    = FlagStream | FlagWait
)

// rawHello is a hello, or an answer to one, with JSON and more fields, which begin with a comma.
func rawHello(more string) string {
	return `{"flyrpc":2,"serializers":["json"],"codes":0` + more + `}`
}

// wireHello returns the raw end of a connection to a server, after a hello with more fields.
func wireHello(t testing.TB, srv *Server, more string) *wireEnd {
	t.Helper()
	w := wireTo(t, srv)
	w.hello(rawHello(more))
	return w
}

// wireServe returns a connected Client and the raw server it talks to, whose hello has more fields.
func wireServe(t testing.TB, opts *ClientOpts, more string) (*Client, *wireEnd) {
	t.Helper()
	cli, w := clientWire(t, opts)
	connected := make(chan error, 1)
	go func() { connected <- cli.Connect(bounded(t)) }()
	w.serverHello(rawHello(more))
	if err := within(t, connected); err != nil {
		t.Fatal(err)
	}
	return cli, w
}

// frameOfCall is a frame of an open call.
func frameOfCall(flag Flag, seq uint16, code, payload string) Packet {
	return Packet{Flag: flag, Sequence: seq, Code: code, Payload: []byte(payload)}
}

// creditFrame is a frame that grants n.
func creditFrame(flag Flag, seq uint16, n uint64) Packet {
	return Packet{Flag: flag, Sequence: seq, Code: creditCode, Payload: binary.AppendUvarint(nil, n)}
}

// granted returns what a credit frame grants.
func granted(t testing.TB, p Packet) int {
	t.Helper()
	n, w := binary.Uvarint(p.Payload)
	if p.Code != creditCode || w != len(p.Payload) {
		t.Fatalf("got %+v, want credit", p)
	}
	return int(n)
}

// wantPacket checks the next packet that isn't credit, and returns what was granted before it.
func (w *wireEnd) wantPacket(flag Flag, seq uint16, code, payload string) (credit int) {
	w.t.Helper()
	for {
		p := w.recv()
		if p.Code == creditCode && p.Flag&FlagStream != 0 {
			credit += granted(w.t, p)
			continue
		}
		if p.Flag&^3 != flag || p.Sequence != seq || p.Code != code || string(p.Payload) != payload {
			w.t.Fatalf("got %+v (%.200q), want flag %#x, sequence %d, code %q, payload %.200q", p, p.Payload, flag, seq, code, payload)
		}
		return credit
	}
}

// wantAlive checks that the connection goes on and that nothing but credit comes before the answer to a ping.
func (w *wireEnd) wantAlive() (credit int) {
	w.t.Helper()
	const seq = 0x7FF0
	w.request(seq, "fly.ping", "alive?")
	return w.wantPacket(FlagResponse, seq, "", "alive?")
}

// wantDropped checks that the other end closes the connection, whatever it sends before.
func (w *wireEnd) wantDropped() {
	w.t.Helper()
	for {
		p, err := w.next()
		if err != nil {
			if err != io.EOF {
				w.t.Fatalf("the connection isn't closed: %v", err)
			}
			return
		}
		if p.Flag == FlagResponse && p.Sequence == 0x7FF0 {
			w.t.Fatalf("the connection goes on")
		}
	}
}

// wantBroken sends packets, and a ping, and checks that the connection is closed instead of an answer.
func (w *wireEnd) wantBroken(ps ...Packet) {
	w.t.Helper()
	var b []byte
	for _, p := range append(ps, rawRequest(0x7FF0, "fly.ping", "")) {
		b, _ = AppendPacket(b, &p)
	}
	w.write(b)
	w.wantDropped()
}

// outcomeIs reports whether err has a code and an outcome.
func outcomeIs(err error, code Code, d Delivery) bool {
	return errors.Is(err, code) && Outcome(err) == d
}

// bubble runs f in a synctest bubble.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// wantNothingLeft checks that a connection is as if nothing had happened.
func wantNothingLeft(t testing.TB, name string, c *Conn) {
	t.Helper()
	wantEmpty(t, name, c)
	var claimed bool
	var halves, held, message int
	if !eventually(func() bool {
		c.memory().mu.Lock()
		claimed = c.memory().joins.Len() > 0
		c.memory().mu.Unlock()
		c.in.mu.Lock()
		halves, held = c.in.halves, c.in.window.Held()
		c.in.mu.Unlock()
		c.messages.mu.Lock()
		message = len(c.messages.waiters)
		c.messages.mu.Unlock()
		return !claimed && halves+held+message == 0
	}) {
		t.Errorf("%s: memory claimed %v, %d half received, %d bytes of messages charged, %d wait to send some", name, claimed, halves, held, message)
	}
}

// endless yields numbers until it is stopped.
func endless(yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}

// text returns n bytes that tell where they are and whose they are.
func text(id, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(id*131 + i*7 + i>>8)
	}
	return b
}
