//go:build unix

package flyrpc

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// hall is a server with many connections of version 1 clients, which are bare sockets.
type hall struct {
	srv  *Server
	ends []*wireEnd
}

func newHall(t *testing.T, n int) *hall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{srv: NewServer(&ServerOpts{Logger: new(pairLog).logger()})}
	h.srv.OnMessage("echo", func(b []byte) []byte { return b })
	served := make(chan struct{})
	go func() { defer close(served); _ = h.srv.Serve(l) }()
	t.Cleanup(func() {
		h.srv.Close()
		await1(t, served, "Serve")
		if !eventually(func() bool { return len(h.srv.all()) == 0 }) {
			t.Error("connections are left of a server that is closed")
		}
		wantNoneParked(t, h.srv.ep)
	})
	for range n {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		h.ends = append(h.ends, newWireEnd(t, conn))
	}
	h.echo(t)
	return h
}

// echo has all connections make a request, all at once, and checks the answers.
func (h *hall) echo(t *testing.T) {
	t.Helper()
	for i, e := range h.ends {
		e.request(uint16(i+1), "echo", "hello")
	}
	for i, e := range h.ends {
		if p := e.recv(); p.Sequence != uint16(i+1) || p.Code != "" || string(p.Payload) != "hello" {
			t.Fatalf("connection %d: %+v", i, p)
		}
	}
}

// crowd has the connections of ep share a goroutine when they are parked, however few they are.
func crowd(ep *endpoint) {
	ep.parking.mu.Lock()
	defer ep.parking.mu.Unlock()
	ep.parking.alone += fewParked
}

// parkedOf returns how many connections of ep, on which crowd was not called, are parked.
func parkedOf(ep *endpoint) int {
	p := &ep.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.shared) + p.alone
}

// parkAll parks the n connections that ep has, without waiting for the timer.
func parkAll(t *testing.T, ep *endpoint, n int) {
	t.Helper()
	if !eventually(func() bool { ep.parking.tick(); return parkedOf(ep) == n }) {
		t.Fatalf("%d connections are parked, want %d", parkedOf(ep), n)
	}
}

// wantNoneParked checks that nothing is left of parking.
func wantNoneParked(t *testing.T, ep *endpoint) {
	t.Helper()
	p := &ep.parking
	none := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.alone%fewParked == 0 && len(p.shared) == 0 && p.set == nil
	}
	if !eventually(none) {
		t.Error("connections are parked that have ended")
	}
}

// parkWhile parks the connections of endpoints all the time while f runs, and reports whether any were.
func parkWhile(eps []*endpoint, f func()) (some bool) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, ep := range eps {
				ep.parking.tick()
				some = some || parkedOf(ep) > 0
			}
			runtime.Gosched()
		}
	})
	f()
	close(stop)
	wg.Wait()
	return some
}

// stackInUse returns the bytes of stacks after a collection.
func stackInUse() uint64 {
	runtime.GC()
	time.Sleep(time.Millisecond) // stacks of goroutines that have just ended go with the next one
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse
}
