package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// unread registers handlers that take items or messages, which come in pieces or not, and don't go on until their
// Context ends.
func unread(srv *Server) {
	srv.OnMessage("/unread", func(ctx *Context, s *Stream) { <-ctx.Done() })
	srv.OnMessage("/held", func(ctx *Context, b []byte) { <-ctx.Done() })
}

// TestCreditToTheByte: a peer may send exactly what it was granted, and not a byte more.
func TestCreditToTheByte(t *testing.T) {
	const window = 1 << 10
	opts := &ServerOpts{StreamWindow: window, MessageWindow: window, MaxCalls: 1}
	for _, tt := range []struct {
		name  string
		setup []Packet
		last  func(payload string) Packet
		used  int
	}{
		{
			"one item",
			[]Packet{{Flag: opening, Sequence: 1, Code: "/unread"}},
			func(s string) Packet { return frameOfCall(fromCaller, 1, itemCode, s) }, 0,
		},
		{
			"items",
			[]Packet{{Flag: opening, Sequence: 1, Code: "/unread"}, frameOfCall(fromCaller, 1, itemCode, "1"), frameOfCall(fromCaller, 1, itemCode, "")},
			func(s string) Packet { return frameOfCall(fromCaller, 1, itemCode, s) }, 65,
		},
		{
			"pieces of an item",
			[]Packet{{Flag: opening, Sequence: 1, Code: "/unread"}, frameOfCall(fromCaller, 1, pieceCode, "abc")},
			func(s string) Packet { return frameOfCall(fromCaller, 1, itemCode, s) }, 35,
		},
		{
			"a piece of an item",
			[]Packet{{Flag: opening, Sequence: 1, Code: "/unread"}},
			func(s string) Packet { return frameOfCall(fromCaller, 1, pieceCode, s) }, 0,
		},
		{
			"messages that wait",
			[]Packet{{Code: "/held"}, {Code: "/held", Payload: []byte("x")}},
			func(s string) Packet { return Packet{Code: "/held", Payload: []byte(s)} }, 65,
		},
	} {
		for _, more := range []int{0, 1} {
			bubble(t, fmt.Sprintf("%s, %d too many", tt.name, more), func(t *testing.T) {
				srv := quietServer(t, opts)
				unread(srv)
				w := wireHello(t, srv, "")
				for _, p := range tt.setup {
					w.send(p)
				}
				synctest.Wait() // the first message's credit is back, but is too little to be granted yet
				last := tt.last(strings.Repeat("x", window-tt.used-32+more))
				if more > 0 {
					w.wantBroken(last)
					return
				}
				w.send(last)
				if credit := w.wantAlive(); credit != 0 {
					t.Errorf("%d bytes were granted", credit)
				}
				w.wantBroken(tt.last(""))
			})
		}
	}
}

// TestCreditOfHalves: while a few messages have the memory to be put together, the others have their window and no more.
func TestCreditOfHalves(t *testing.T) {
	const window = 1 << 10
	for _, more := range []int{0, 1} {
		bubble(t, fmt.Sprint(more), func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{StreamWindow: window})
			w := wireHello(t, srv, "")
			for range 50 { // the first has the memory, so its credit comes back
				w.send(frameOfCall(opening, 1, pieceCode, strings.Repeat("x", window/2-32)))
				if w.wantPacketCredit(1) != window/2 {
					t.Fatal("no credit for the one that has the memory")
				}
			}
			for seq := uint16(2); seq <= maxJoins; seq++ { // these have memory too
				w.send(frameOfCall(opening, seq, pieceCode, "x"))
			}
			piece := frameOfCall(opening, maxJoins+1, pieceCode, strings.Repeat("x", window-32+more))
			if more > 0 {
				w.wantBroken(piece)
				return
			}
			w.send(piece)
			if credit := w.wantAlive(); credit != 0 {
				t.Errorf("%d bytes were granted", credit)
			}
			w.send(rawCancel(1)) // now it is the other's turn
			credit := w.wantPacket(FlagResponse|FlagMeta, 1, string(Canceled), "the call was cancelled before all of it had come")
			if credit += w.wantAlive(); credit != window {
				t.Errorf("%d bytes were granted", credit)
			}
		})
	}
}

// wantPacketCredit returns what the next packet, a credit frame of a call, grants.
func (w *wireEnd) wantPacketCredit(seq uint16) int {
	w.t.Helper()
	p := w.recv()
	if p.Sequence != seq || p.Flag&^3 != fromCallee {
		w.t.Fatalf("got %+v, want credit for %d", p, seq)
	}
	return granted(w.t, p)
}

// TestCreditFrames: what is no uvarint, or too much, ends the connection; what is for nobody doesn't.
func TestCreditFrames(t *testing.T) {
	const most = 1<<31 - 1
	for _, tt := range []struct {
		name   string
		hello  string
		frames []Packet
		broken bool
	}{
		{"unknown calls", "", []Packet{creditFrame(fromCaller, 7, 1), creditFrame(fromCallee, 7, 1), creditFrame(fromCallee, 0, most), creditFrame(fromCaller, 7, 1<<60)}, false},
		{"to the limit", `,"window":1000`, []Packet{creditFrame(fromCaller, 1, most-1000)}, false},
		{"over it", `,"window":1000`, []Packet{creditFrame(fromCaller, 1, most-999)}, true},
		{"twice over it", `,"window":1000`, []Packet{creditFrame(fromCaller, 1, most-1000), creditFrame(fromCaller, 1, 1)}, true},
		{"messages to the limit", `,"messages":1000`, []Packet{creditFrame(fromCaller, 0, most-1000)}, false},
		{"messages over it", `,"messages":1000`, []Packet{creditFrame(fromCaller, 0, most-999)}, true},
		{"64 bits", "", []Packet{creditFrame(fromCaller, 1, 1<<64-1)}, true},
		{"zero", "", []Packet{creditFrame(fromCaller, 1, 0)}, false},
		{"a hello over it", `,"window":4294967296,"messages":99999999999`, nil, false},
		{"over a hello over it", `,"window":4294967296`, []Packet{creditFrame(fromCaller, 1, 1)}, true},
		{"empty", "", []Packet{frameOfCall(fromCaller, 1, creditCode, "")}, true},
		{"unfinished", "", []Packet{frameOfCall(fromCaller, 1, creditCode, "\x80")}, true},
		{"and more", "", []Packet{frameOfCall(fromCaller, 1, creditCode, "\x01\x01")}, true},
		{"too long", "", []Packet{frameOfCall(fromCaller, 1, creditCode, strings.Repeat("\xff", 10)+"\x01")}, true},
		{"malformed for nobody", "", []Packet{frameOfCall(fromCallee, 9, creditCode, "")}, true},
		{"compressed", "", []Packet{{Flag: fromCaller | FlagZipPayload, Sequence: 1, Code: creditCode, Payload: []byte{1}}}, true},
		{"with metadata", "", []Packet{{Flag: fromCaller, Sequence: 1, Code: creditCode, Meta: AppendMeta(nil, MetaKey, "a", "b"), Payload: []byte{1}}}, true},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			srv := quietServer(t, nil)
			unread(srv)
			w := wireHello(t, srv, tt.hello)
			w.send(Packet{Flag: opening, Sequence: 1, Code: "/unread"})
			if tt.broken {
				w.wantBroken(tt.frames...)
				return
			}
			for _, p := range tt.frames {
				w.send(p)
			}
			w.wantAlive()
		})
	}
}

// grudging reads what comes at a raw end, grants little of it at random times, and holds its peer to the account.
type grudging struct {
	w      *wireEnd
	rng    *rand.Rand
	window int
	left   map[uint16]int // of each call, and of messages at 0
}

// run reads until the code end, or the connection's end, granting at most most at a time.
func (g *grudging) run(flag Flag) error {
	owed := map[uint16]int{}
	for {
		h, payload, err := g.next()
		if err != nil {
			return err
		}
		charged := h.flag&FlagStream != 0 && (len(h.code) == 0 || string(h.code) == pieceCode)
		account := h.seq
		if h.flag&(FlagWait|FlagResponse|FlagStream) == 0 {
			charged, account = true, 0
		}
		if !charged {
			if string(h.code) == pingPath && g.write(Packet{Flag: FlagResponse, Sequence: h.seq}) != nil {
				return io.EOF
			}
			if string(h.code) == endCode || h.flag&FlagResponse != 0 {
				return nil
			}
			continue
		}
		if _, ok := g.left[account]; !ok {
			g.left[account] = g.window
		}
		if g.left[account] -= len(payload) + 32; g.left[account] < 0 {
			return fmt.Errorf("sequence %d is %d bytes over its account", account, -g.left[account])
		}
		owed[account] += len(payload) + 32
		for seq, n := range owed {
			if n *= 2; n > g.window || g.rng.IntN(3) == 0 {
				n = min(owed[seq], 1+g.rng.IntN(g.window))
				if 2*owed[seq] > g.window {
					n = owed[seq] // no packet takes more than half, so now it must go on
				}
				owed[seq] -= n
				g.left[seq] += n
				f := flag
				if seq == 0 {
					f = FlagStream
				}
				if g.write(creditFrame(f, seq, uint64(n))) != nil {
					return io.EOF
				}
			}
		}
	}
}

// write writes a packet, if the connection is still there.
func (g *grudging) write(p Packet) error {
	b, err := AppendPacket(nil, &p)
	if err == nil {
		_, err = g.w.conn.Write(b)
	}
	return err
}

// next returns the next packet as it came.
func (g *grudging) next() (header, []byte, error) {
	for {
		h, n, err := parseHeader(g.w.buf)
		if err == nil && len(g.w.buf)-n >= int(h.length) {
			h.code = bytes.Clone(h.code)
			payload := bytes.Clone(g.w.buf[n : n+int(h.length)])
			g.w.buf = g.w.buf[n+int(h.length):]
			return h, payload, nil
		}
		b := make([]byte, 4<<10)
		if n, err = g.w.conn.Read(b); err != nil {
			return h, nil, err
		}
		g.w.buf = append(g.w.buf, b[:n]...)
	}
}

func newGrudging(w *wireEnd, seed uint64, window int) *grudging {
	return &grudging{w: w, rng: rand.New(rand.NewPCG(seed, 3)), window: window, left: map[uint16]int{}}
}

// TestCreditKept: this side never sends more than it was granted, whatever it sends and however small the window.
func TestCreditKept(t *testing.T) {
	for i, window := range []int{100, 101, 130, 500, 1000, 5000, 70_000, 300_000} {
		for _, kind := range []string{"items", "reader", "request", "message", "messages", "reply", "sequence"} {
			bubble(t, fmt.Sprintf("%s, window %d", kind, window), func(t *testing.T) {
				hello := fmt.Sprintf(`,"window":%d,"messages":%[1]d`, window)
				if kind == "reply" || kind == "sequence" {
					checkCallee(t, kind, hello, newGrudging(nil, uint64(i), window))
				} else {
					checkCaller(t, kind, hello, newGrudging(nil, uint64(i), window))
				}
			})
		}
	}
}

func checkCaller(t *testing.T, kind, hello string, g *grudging) {
	cli, w := wireServe(t, nil, hello)
	g.w = w
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 10 * g.window
	done := make(chan error, 1)
	go func() {
		switch kind {
		case "items":
			_, err := Upload[int](ctx, cli, "/x", nil, func(yield func([]byte) bool) {
				for i := 0; i < 100 && yield(text(i, i*g.window/50)); i++ {
				}
			})
			done <- err
		case "reader":
			done <- cli.Call(ctx, "/x", bytes.NewReader(text(1, n)), nil)
		case "request":
			done <- cli.Call(ctx, "/x", text(1, n), nil)
		case "message":
			done <- cli.SendMessage(ctx, "/x", text(1, n))
		case "messages":
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() { _ = cli.SendMessage(ctx, "/x", text(i, i*g.window/10)) })
			}
			wg.Wait()
			done <- nil
		}
	}()
	ran := make(chan error, 1)
	go func() { ran <- g.run(fromCallee) }()
	if kind == "message" || kind == "messages" {
		if err := <-done; err != nil {
			t.Error(err)
		}
		cli.Close()
		if err := <-ran; err != io.EOF {
			t.Error(err)
		}
		return
	}
	if kind == "request" {
		synctest.Wait()
		cancel() // the request has come
		if err := <-done; !errors.Is(err, Canceled) {
			t.Error(err)
		}
		cli.Close()
		<-ran
		return
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	w.send(rawAnswer(1<<15|1, ""))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func checkCallee(t *testing.T, kind, hello string, g *grudging) {
	srv := quietServer(t, nil)
	srv.OnMessage("/reply", func() []byte { return text(1, 10*g.window) })
	srv.OnMessage("/sequence", func() iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for i := 0; i < 100 && yield(text(i, i*g.window/50), nil); i++ {
			}
		}
	})
	g.w = wireHello(t, srv, hello)
	g.w.request(1, "/"+kind, "")
	if err := g.run(fromCaller); err != nil {
		t.Error(err)
	}
}
