package flyrpc

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// slowEnd is an end of a pipe that counts what is written to it. Its writes take time of a synctest bubble, or wait
// until they are released, so that what goes into which write doesn't depend on the machine.
type slowEnd struct {
	*transport.MemConn
	takes time.Duration // by a write that waits; if it is 0, writes don't wait unless they are held up

	mu    sync.Mutex
	gate  chan struct{} // holds up writes until it is closed, if it isn't nil
	calls []int         // how many packets each write call took
}

// hold holds up what is written from now on, and forgets what was.
func (e *slowEnd) hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate, e.calls = make(chan struct{}), nil
}

// release lets writes go on.
func (e *slowEnd) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.gate)
	e.gate = nil
}

// waits reports whether a write has to wait, and for what if it is held up.
func (e *slowEnd) waits() (gate chan struct{}, waits bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gate, e.gate != nil || e.takes > 0
}

// count counts a write call that takes b.
func (e *slowEnd) count(b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for ; len(b) > 0; n++ {
		_, size, err := ParsePacket(b, 1<<20)
		if err != nil {
			panic(fmt.Sprintf("packet %d of a write: %v", n, err))
		}
		b = b[size:]
	}
	e.calls = append(e.calls, n)
}

// counts returns how many packets each write call took, and forgets it.
func (e *slowEnd) counts() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

// TryWrite takes all of b, or nothing if a Write would wait.
func (e *slowEnd) TryWrite(b []byte) (int, error) {
	if _, waits := e.waits(); waits {
		e.count(nil)
		return 0, nil
	}
	e.count(b)
	return e.MemConn.TryWrite(b)
}

// Write takes all of b when it has waited.
func (e *slowEnd) Write(b []byte) (int, error) {
	if gate, _ := e.waits(); gate != nil {
		<-gate
	}
	time.Sleep(e.takes)
	e.count(b)
	return e.MemConn.Write(b)
}

// blocking hides TryWrite: a connection that may always block, as with TLS.
type blocking struct{ net.Conn }

// newSlowPair connects a server and a client over ends that count, and forgets what the handshake wrote.
func newSlowPair(t *testing.T, takes time.Duration, tries bool) (p *pair, near, far *slowEnd) {
	up, down := transport.Pipe(nil)
	near, far = &slowEnd{MemConn: up, takes: takes}, &slowEnd{MemConn: down, takes: takes}
	p = new(pair)
	setup := func(srv *Server, _ *Client) { register(srv) }
	if tries {
		p.connect(t, near, far, nil, nil, setup)
	} else {
		p.connect(t, blocking{near}, blocking{far}, nil, nil, setup)
	}
	p.echo(t, p.cc, "the path is learned")
	synctest.Wait()
	near.counts()
	far.counts()
	return p, near, far
}

// callers has n callers make calls, and returns what waits for their end.
func (p *pair) callers(t *testing.T, n, each int) *sync.WaitGroup {
	all := new(sync.WaitGroup)
	for k := range n {
		all.Go(func() {
			for i := range each {
				text := fmt.Sprint(k, "/", i)
				if got, err := Call[string](context.Background(), p.cc, "/echo", text); err != nil || got != text {
					t.Errorf("%q, %v; want %q", got, err, text)
				}
			}
		})
	}
	return all
}

// TestWritesHeldUp checks that all that callers, and handlers, have for a connection while a write to it is held up
// goes in the one write behind it.
func TestWritesHeldUp(t *testing.T) {
	for _, tries := range []bool{true, false} {
		bubble(t, fmt.Sprint("tries=", tries), func(t *testing.T) {
			p, near, far := newSlowPair(t, 0, tries)
			near.hold()
			far.hold()
			const callers = 128
			first := p.callers(t, 1, 1)
			synctest.Wait()
			others := p.callers(t, callers-1, 1)
			synctest.Wait()
			near.release()
			synctest.Wait()
			want := []int{1, callers - 1}
			if tries {
				want = slices.Insert(want, 0, 0) // nothing of the first one fits
			}
			if got := near.counts(); !slices.Equal(got, want) {
				t.Errorf("the requests were written %v at a time, want %v", got, want)
			}
			far.release()
			first.Wait()
			others.Wait()
			if got := far.counts(); len(got) > len(want) || sum(got) != callers {
				t.Errorf("the answers were written %v at a time, want %d in %d writes at most", got, callers, len(want))
			}
		})
	}
}

func sum(list []int) (n int) {
	for _, v := range list {
		n += v
	}
	return n
}

// TestWritesPerCall checks how many write calls a call of one of many callers takes, where each write takes a
// millisecond. In that time each end ends one write at most, and tries one that would block. A call takes four at
// most: on each way one while the write before ends and one for its own. So there are at most 4*4/128 write calls per
// call, whatever the scheduler does.
func TestWritesPerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, near, far := newSlowPair(t, time.Millisecond, true)
		const callers, each = 128, 20
		begin := time.Now()
		p.callers(t, callers, each).Wait()
		if took := time.Since(begin); took > 4*each*time.Millisecond {
			t.Errorf("%d calls one after the other took %v", each, took)
		}
		requests, answers := near.counts(), far.counts()
		if sum(requests) != callers*each || sum(answers) != callers*each {
			t.Errorf("%d requests and %d answers were written, want %d", sum(requests), sum(answers), callers*each)
		}
		perCall := float64(len(requests)+len(answers)) / (callers * each)
		t.Logf("%.3f write calls per call", perCall)
		if perCall > 4.*4/callers {
			t.Errorf("%.3f write calls per call, want %.3f at most", perCall, 4.*4/callers)
		}
	})
}

// TestWritesPerCallTCP checks the same over a socket, where it is the scheduler that decides what comes together: the best of
// several rounds counts, since others may use the machine.
func TestWritesPerCallTCP(t *testing.T) {
	p := newTCPPair(t, func(srv *Server, _ *Client) { register(srv) })
	ends := []*Conn{p.cc, p.sc}
	const callers, each, most = 128, 50, 0.25
	best := 2.0
	for round := 0; round < 20 && best > most; round++ {
		before := writeCalls(ends)
		p.callers(t, callers, each).Wait()
		best = min(best, float64(writeCalls(ends)-before)/(callers*each))
	}
	t.Logf("%.3f write calls per call", best)
	if best > most {
		t.Errorf("%.3f write calls per call, want %v at most", best, most)
	}
}

// TestWritesOfLoneCaller checks that a call that stands alone takes one write on each end, before the
// connection counts as a lone caller's and after.
func TestWritesOfLoneCaller(t *testing.T) {
	p := newTCPPair(t, func(srv *Server, _ *Client) { register(srv) })
	written := func(c *Conn) uint64 {
		if err := c.proto.out.drain(bounded(t)); err != nil {
			t.Fatal(err)
		}
		return writeCalls([]*Conn{c})
	}
	for i := range 5 * loneAfter {
		near, far := written(p.cc), written(p.sc)
		p.echo(t, p.cc, fmt.Sprint(i))
		if near, far = written(p.cc)-near, written(p.sc)-far; near != 1 || far != 1 {
			t.Fatalf("call %d took %d writes of the client and %d of the server", i, near, far)
		}
	}
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p, near, far := newSlowPair(t, 0, tries)
			for i := range 5 {
				p.echo(t, p.cc, fmt.Sprint(i))
				synctest.Wait()
				if near, far := near.counts(), far.counts(); !slices.Equal(near, []int{1}) || !slices.Equal(far, []int{1}) {
					t.Errorf("call %d: %v requests and %v answers were written at a time", i, near, far)
				}
			}
		})
	}
}

// TestWritesOfBatch checks that the answers to requests that were read together are written together: those
// of the reader itself and of inline handlers in one write; those of other handlers, which run when they like, nearly so.
func TestWritesOfBatch(t *testing.T) {
	const n = 60
	for _, tt := range []struct {
		path string
		most int
	}{{"/inline", 1}, {"fly.ping", 1}, {"/no/such/path", 1}, {"/echo", n / 4}} {
		bubble(t, tt.path, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that what comes together can be handled together
			srv := quietServer(t, nil)
			register(srv)
			up, down := transport.Pipe(nil)
			far := &slowEnd{MemConn: down}
			go srv.ServeConn(far)
			w := newWireEnd(t, up)
			w.hello(plainHello)
			synctest.Wait()
			far.counts()
			var batch []byte
			for seq := range uint16(n) {
				req := rawRequest(seq+1, tt.path, `"x"`)
				batch, _ = AppendPacket(batch, &req)
			}
			w.write(batch)
			synctest.Wait()
			got := far.counts()
			if len(got) > tt.most || sum(got) != n {
				t.Errorf("%d answers were written %v at a time, want %d in %d writes at most", sum(got), got, n, tt.most)
			}
		})
	}
}
