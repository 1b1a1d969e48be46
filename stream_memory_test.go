package flyrpc

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile is a raw peer that opens all it may and fills every window with what nobody takes.
type hostile struct {
	w     *wireEnd
	lim   limits
	calls int
	b     []byte
}

// add queues a packet.
func (h *hostile) add(p Packet) {
	h.b, _ = AppendPacket(h.b, &p)
	if len(h.b) > 1<<20 {
		h.flush()
	}
}

func (h *hostile) flush() {
	h.w.write(h.b)
	h.b = h.b[:0]
}

// fill queues frames of size bytes of payload until the account is used up.
func (h *hostile) fill(account, size int, make func(payload []byte) Packet) {
	for account >= 32 {
		n := min(size, account-32, h.lim.maxFrame)
		h.add(make(text(1, n)))
		account -= n + 32
	}
}

// items opens all calls with items nobody reads.
func (h *hostile) items(size int) {
	for seq := range h.calls {
		h.add(opens(uint16(seq+1), "/unread", ""))
		h.fill(h.lim.window, size, func(b []byte) Packet { return Packet{Flag: fromCaller, Sequence: uint16(seq + 1), Payload: b} })
	}
}

// halves sends requests that are never complete, in pieces; the first has the memory to be completed.
func (h *hostile) halves(size int) {
	for seq := range h.calls {
		account := h.lim.window
		if seq == 0 {
			account = min(h.lim.maxWhole(), h.lim.window)
		}
		h.fill(account, size, func(b []byte) Packet {
			return Packet{Flag: opening, Sequence: uint16(seq + 1), Code: pieceCode, Payload: b}
		})
	}
}

// parts opens all calls with an item that is never complete, beside the items.
func (h *hostile) parts(size int) {
	for seq := range h.calls {
		h.add(opens(uint16(seq+1), "/unread", ""))
		h.fill(h.lim.window, size, func(b []byte) Packet {
			return Packet{Flag: fromCaller, Sequence: uint16(seq + 1), Code: pieceCode, Payload: b}
		})
	}
}

// messages fills all handlers with messages, and the account with those that wait.
func (h *hostile) messages(path string, size int) {
	for range h.lim.maxCalls {
		h.add(Packet{Code: "/held"})
	}
	h.flush()
	h.w.wantAlive()
	time.Sleep(10 * time.Millisecond)
	h.fill(h.lim.messages-32*h.lim.maxCalls, size, func(b []byte) Packet { return Packet{Code: path, Payload: b} })
}

// heap returns what is in use after a collection.
func heap() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// measure returns how much memory a server takes for what a hostile peer sends, beside what the idle
// handlers of as many empty calls take.
func measure(t *testing.T, opts ServerOpts, attack func(h *hostile)) (taken, allowed int) {
	srv := quietServer(t, &opts)
	unread(srv)
	srv.OnMessage("/held/{path...}", func(ctx *Context, b []byte) { <-ctx.Done() })
	w := wireHello(t, srv, "")
	h := &hostile{w: w, lim: srv.ep.limits, calls: srv.ep.limits.maxCalls}
	before := heap()
	attack(h)
	h.flush()
	h.w.wantAlive()
	h.b = nil
	taken = heap() - before
	allowed = h.lim.maxCalls*h.lim.window + h.lim.messages + h.lim.maxMessage
	if srv.Conns()[0].Err() != nil {
		t.Fatal(srv.Conns()[0].Err())
	}
	return taken, allowed
}

// TestMemoryOfConn: whatever a peer sends, a connection takes no more than about what its windows say.
func TestMemoryOfConn(t *testing.T) {
	small := ServerOpts{MaxCalls: 64, StreamWindow: 64 << 10, MessageWindow: 256 << 10, MaxMessage: 1 << 20}
	sizes := []int{0, 1, 100, 10923, largeBody - 1, largeBody, 17_000, 32 << 10, 32<<10 + 1, 60_000}
	for _, size := range sizes {
		holdMemory(t, fmt.Sprint("items of ", size), small, func(h *hostile) { h.items(size) })
		holdMemory(t, fmt.Sprint("halves of ", size), small, func(h *hostile) { h.halves(size) })
		holdMemory(t, fmt.Sprint("parts of ", size), small, func(h *hostile) { h.parts(size) })
		holdMemory(t, fmt.Sprint("messages of ", size), small, func(h *hostile) { h.messages("/held", size) })
	}
	holdMemory(t, "items and messages", small, func(h *hostile) {
		h.messages("/held", 0)
		h.items(largeBody)
	})
	t.Run("messages with long paths", func(t *testing.T) {
		// Paths aren't charged, so this is not held to anything.
		taken, allowed := measure(t, small, func(h *hostile) { h.messages("/held/"+strings.Repeat("x", maxCodeLen-6), 0) })
		t.Logf("%.1f MiB taken, %.1f times the %.1f MiB of the windows and a message", mib(taken), float64(taken)/float64(allowed), mib(allowed))
	})
	holdMemory(t, "defaults", ServerOpts{}, func(h *hostile) {
		h.messages("/held", 0)
		h.items(largeBody)
	})
}

// holdMemory holds a server under attack to twice what the windows and a message take.
func holdMemory(t *testing.T, name string, opts ServerOpts, attack func(h *hostile)) {
	t.Run(name, func(t *testing.T) {
		taken, allowed := measure(t, opts, attack)
		t.Logf("%.1f MiB taken, %.1f times the %.1f MiB of the windows and a message", mib(taken), float64(taken)/float64(allowed), mib(allowed))
		if taken > 2*allowed+8<<20 {
			t.Errorf("%.1f MiB were taken, for windows and a message of %.1f MiB", mib(taken), mib(allowed))
		}
	})
}

func mib(n int) float64 { return float64(n) / (1 << 20) }
