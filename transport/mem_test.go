package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemRoundTrip(t *testing.T) {
	table := newTable(t, new(Mem))
	a, b := connect(t, table, "mem://orders")
	send(t, a, "question")
	expect(t, b, "question")
	b.(*MemConn).SetChunk(1)
	send(t, b, "answer")
	expect(t, a.(*MemConn), "answer")
	if got := b.LocalAddr(); got != MemAddr("orders") || got.Network() != "mem" || got.String() != "mem://orders" {
		t.Errorf("accepted at %v", got)
	}
	if got := a.LocalAddr().String(); got != "mem://dial#1" {
		t.Errorf("dialed from %v", got)
	}
}

func TestMemNames(t *testing.T) {
	m := NewMem()
	table := newTable(t, m)
	_, err := table.Dial(t.Context(), "mem://a")
	wantRefused(t, err, "no listener in this transport.Mem")
	b := listen(t, table, "mem://b")
	listen(t, table, "mem://a")
	_, err = table.Dial(t.Context(), "mem://x")
	wantRefused(t, err, "dial mem mem://x: connection refused: the listeners are mem://a, mem://b")
	_, err = table.Listen(t.Context(), "mem://b")
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "mem://b") {
		t.Errorf("a name taken twice: %v", err)
	}
	must(t, b.Close())
	wantClosed(t, "second Close", b.Close())
	again := listen(t, table, "mem://b")
	m.remove(b.(*memListener)) // the name has another listener by now
	if _, err := table.Dial(t.Context(), again.Addr().String()); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T, table *Table, addr string) net.Listener {
	t.Helper()
	l, err := table.Listen(t.Context(), addr)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func wantRefused(t *testing.T, err error, says string) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want ECONNREFUSED and %q", err, says)
	}
}

func TestMemAddrErrors(t *testing.T) {
	table := newTable(t, NewMem())
	for _, c := range []struct{ addr, says string }{
		{"mem://", "it has no name; write mem://name"},
		{"mem://a/b", `a mem address takes no path; remove "/b"`},
		{"mem://a?b", "takes no query"},
		{"mem://me:secret@a", "takes no user or password"},
	} {
		_, err := table.Dial(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
		_, err = table.Listen(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
	}
}

func TestMemContext(t *testing.T) {
	table := newTable(t, NewMem())
	listen(t, table, "mem://a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Dial(ctx, "mem://a"); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v", err)
	}
	if _, err := table.Listen(ctx, "mem://b"); !errors.Is(err, context.Canceled) {
		t.Errorf("listen: %v", err)
	}
}

// A full backlog makes dials wait: for room, for the context, for Close.
func TestMemBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, NewMem())
		l := listen(t, table, "mem://a")
		var dialed []net.Conn
		for range MemBacklog {
			c, err := table.Dial(t.Context(), "mem://a")
			must(t, err)
			dialed = append(dialed, c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := table.Dial(ctx, "mem://a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial with a full backlog: %v", err)
		}
		first, second := goDial(table), goDial(table)
		synctest.Wait()
		if _, err := l.Accept(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		must(t, l.Close())
		one, other := <-first, <-second
		if one != nil {
			one, other = other, one
		}
		wantRefused(t, other, "mem://a")
		must(t, one)
		expectEnd(t, dialed[MemBacklog-1], "", syscall.ECONNRESET)
	})
}

func goDial(table *Table) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := table.Dial(context.Background(), "mem://a"); done <- err }()
	return done
}

func TestMemListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, newTable(t, NewMem()), "mem://a")
		done := make(chan error)
		go func() { _, err := l.Accept(); done <- err }()
		synctest.Wait()
		must(t, l.Close())
		wantClosed(t, "Accept", <-done)
		_, err := l.Accept()
		wantClosed(t, "Accept after Close", err)
	})
}

// A connection that gets into the backlog after Close has drained it is reset.
func TestMemOfferAfterClose(t *testing.T) {
	for range 50 {
		l := newMemListener(NewMem(), "a")
		must(t, l.Close())
		near, far := pipe(t, nil)
		if err := l.offer(t.Context(), far); err != nil {
			wantRefused(t, err, "refused")
			continue
		}
		expectEnd(t, near, "", syscall.ECONNRESET)
	}
}

// Dials, accepts and closes at once: every dialed connection is answered or fails.
func TestMemRacy(t *testing.T) {
	m := NewMem()
	table := newTable(t, m)
	var wg sync.WaitGroup
	for i := range 20 {
		addr := fmt.Sprintf("mem://%d", i%4)
		wg.Go(func() {
			l, err := table.Listen(t.Context(), addr)
			if err != nil {
				return
			}
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Close()
				}
			})
			_, _ = table.Dial(t.Context(), addr)
			l.Close()
		})
		wg.Go(func() {
			for range 50 {
				c, err := table.Dial(t.Context(), addr)
				if err != nil {
					continue
				}
				_, _ = c.Read(make([]byte, 1))
				c.Close()
			}
		})
	}
	wg.Wait()
	if len(m.listeners) != 0 {
		t.Errorf("%d names are left", len(m.listeners))
	}
}
