//go:build !race

package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// The race detector allocates memory of its own, so these tests are not for it.

// budget is what one operation may allocate over a socket, at both ends together. What the programs
// themselves need is in it: each end decodes a string and a []byte, and a handler's message is new.
type budget struct {
	allocs float64
	bytes  float64
}

// check measures f, which does n operations, after it has run often enough to have its buffers, and for a
// lone caller to count as one.
func (most budget) check(t *testing.T, runs, n int, f func() error) {
	t.Helper()
	var failed error
	run := func() {
		if err := f(); err != nil {
			failed = err
		}
	}
	for range 2 * loneAfter {
		run()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	allocs := testing.AllocsPerRun(runs, run) / float64(n)
	runtime.ReadMemStats(&after)
	size := float64(after.TotalAlloc-before.TotalAlloc) / float64((runs+1)*n)
	if failed != nil {
		t.Fatal(failed)
	}
	if allocs > most.allocs {
		t.Errorf("%.2f allocations, want %v at most", allocs, most.allocs)
	}
	if size > most.bytes {
		t.Errorf("%.0f bytes allocated, want %.0f at most", size, most.bytes)
	}
	t.Logf("%.2f allocations, %.0f bytes", allocs, size)
}

// newBudgetPair is newTCPPair with one serializer.
func newBudgetPair(t *testing.T, ser serializer.Serializer, register func(*Server)) *pair {
	t.Helper()
	p := new(pair)
	up, down := tcpPair(t)
	so, co := &ServerOpts{Serializers: []serializer.Serializer{ser}}, &ClientOpts{Serializer: ser}
	p.connect(t, up, down, so, co, func(srv *Server, _ *Client) { register(srv) })
	return p
}

// errAnother says that an answer is not the message that was sent.
var errAnother = errors.New("another message came back")

// echoBench returns a function that has a benchMessage echoed.
func echoBench(cli *Client, payload []byte) func() error {
	ctx, m := context.Background(), newBenchMessage()
	m.Payload = payload
	var reply benchMessage
	return func() error {
		reply = benchMessage{}
		err := cli.Call(ctx, "/echo", m, &reply)
		if err == nil && (reply.ID != m.ID || reply.Name != m.Name || !bytes.Equal(reply.Payload, m.Payload)) {
			err = errAnother
		}
		return err
	}
}

// echoSmall is echoBench with the message of 64 bytes.
func echoSmall(cli *Client) func() error { return echoBench(cli, newBenchMessage().Payload) }

// echoAny returns a function that has a Protocol Buffers message of 64 bytes echoed: like benchMessage it has a
// string and bytes.
func echoAny(cli *Client) func() error {
	ctx, m := context.Background(), &anypb.Any{TypeUrl: "Ada Lovelace", Value: bytes.Repeat([]byte{7}, 33)}
	reply := new(anypb.Any)
	return func() error {
		err := cli.Call(ctx, "/echo", m, reply)
		if err == nil && (reply.TypeUrl != m.TypeUrl || !bytes.Equal(reply.Value, m.Value)) {
			err = errAnother
		}
		return err
	}
}

// TestBudgetCall has calls one after the other, and calls of 16 callers at a time.
func TestBudgetCall(t *testing.T) {
	plain := func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil }
	proto := func(_ *Context, m *anypb.Any) (*anypb.Any, error) { return m, nil }
	on := func(s *Server) { s.OnMessage("/echo", plain) }
	handle := func(s *Server) { Handle(s, "/echo", plain) }
	tests := []struct {
		name     string
		ser      serializer.Serializer
		register func(*Server)
		caller   func(*Client) func() error
		most     budget
	}{
		{"msgpack OnMessage", msgpack.Serializer, on, echoSmall, budget{8, 1 << 10}},
		{"msgpack Handle", msgpack.Serializer, handle, echoSmall, budget{6, 1 << 10}},
		{"msgpack Inline", msgpack.Serializer, func(s *Server) { Handle(s, "/echo", plain, Inline) }, echoSmall, budget{6, 1 << 10}},
		{"json OnMessage", json.Serializer, on, echoSmall, budget{12, 1 << 10}},
		{"json Handle", json.Serializer, handle, echoSmall, budget{10, 1 << 10}},
		{"protobuf OnMessage", protobuf.Serializer, func(s *Server) { s.OnMessage("/echo", proto) }, echoAny, budget{8, 1 << 10}},
		{"protobuf Handle", protobuf.Serializer, func(s *Server) { Handle(s, "/echo", proto) }, echoAny, budget{6, 1 << 10}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newBudgetPair(t, tt.ser, tt.register)
			tt.most.check(t, 2000, 1, tt.caller(p.cli))
			const callers = 16
			tt.most.check(t, 200, callers, together(t, callers, func() func() error { return tt.caller(p.cli) }))
		})
	}
}

// TestBudgetContext has a lone caller's context, which may end, cost no more than telling it who is to be told.
func TestBudgetContext(t *testing.T) {
	plain := func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil }
	p := newBudgetPair(t, msgpack.Serializer, func(s *Server) { Handle(s, "/echo", plain) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m := newBenchMessage()
	var reply benchMessage
	budget{8, 1 << 10}.check(t, 2000, 1, func() error {
		reply = benchMessage{}
		return p.cli.Call(ctx, "/echo", m, &reply)
	})
}

// together returns a function that has n callers call once at the same time.
func together(t *testing.T, n int, caller func() func() error) func() error {
	begin, done := make(chan struct{}), make(chan error, n)
	var all sync.WaitGroup
	for range n {
		call := caller()
		all.Go(func() {
			for range begin {
				done <- call()
			}
		})
	}
	t.Cleanup(func() {
		close(begin)
		all.Wait()
	})
	return func() (failed error) {
		for range n {
			begin <- struct{}{}
		}
		for range n {
			if err := <-done; err != nil {
				failed = err
			}
		}
		return failed
	}
}

// TestBudgetMessage has one-way messages, whose handler is awaited before the next.
func TestBudgetMessage(t *testing.T) {
	came := make(chan struct{}, 1)
	p := newBudgetPair(t, msgpack.Serializer, func(s *Server) {
		Handle(s, "/note", func(*Context, *benchMessage) (*benchMessage, error) {
			came <- struct{}{}
			return nil, nil
		})
	})
	ctx, m := context.Background(), newBenchMessage()
	budget{4, 1 << 10}.check(t, 2000, 1, func() error {
		err := p.cli.SendMessage(ctx, "/note", m)
		if err == nil {
			<-came
		}
		return err
	})
}

// TestBudgetPing has pings without a timeout, and with one, which takes a timer.
func TestBudgetPing(t *testing.T) {
	p := newBudgetPair(t, msgpack.Serializer, func(*Server) {})
	budget{3, 1 << 10}.check(t, 2000, 1, func() error {
		_, err := p.cli.Ping(0, 0)
		return err
	})
	budget{10, 1 << 10}.check(t, 2000, 1, func() error {
		_, err := p.cli.Ping(64, patience)
		return err
	})
}

// TestBudgetItem has a stream of items in each direction. What the stream itself takes is divided among them.
func TestBudgetItem(t *testing.T) {
	const n = 2000
	p := newBudgetPair(t, msgpack.Serializer, func(s *Server) {
		s.OnMessage("/give", func(s *Stream) error { return giveItems(s, n) })
		s.OnMessage("/take", func(s *Stream) error { return takeItems(s, n) })
	})
	most := budget{2.1, 128}
	most.check(t, 5, n, func() error {
		s, err := p.cli.OpenStream(context.Background(), "/give", nil)
		if err == nil {
			err = takeItems(s, n)
		}
		return err
	})
	most.check(t, 5, n, func() error {
		s, err := p.cli.OpenStream(context.Background(), "/take", nil)
		if err == nil {
			err = giveItems(s, n)
		}
		if err == nil {
			err = s.CloseSend()
		}
		if err == nil {
			err = takeItems(s, 0)
		}
		return err
	})
}

// giveItems sends n items.
func giveItems(s *Stream, n int) error {
	m := newBenchMessage()
	for range n {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// takeItems receives n items, and the end.
func takeItems(s *Stream, n int) error {
	var m benchMessage
	for got := 0; ; got++ {
		m = benchMessage{}
		if err := s.Recv(&m); err == io.EOF {
			return wantCount(got, n)
		} else if err != nil {
			return err
		}
		if m.ID == 0 {
			return fmt.Errorf("item %d is %+v", got, m)
		}
	}
}

// TestBudgetLarge echoes 1 MiB, which each end decodes into memory of the program's: that is 2 MiB. All else is in
// buffers that are used again.
func TestBudgetLarge(t *testing.T) {
	p := newBudgetPair(t, msgpack.Serializer, func(s *Server) {
		s.OnMessage("/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil })
	})
	budget{200, 2.6 * (1 << 20)}.check(t, 50, 1, echoBench(p.cli, make([]byte, 1<<20)))
}

// TestBudgetClient has calls of clients that choose among connections, which costs nothing more.
func TestBudgetClient(t *testing.T) {
	for name, opts := range map[string]*ClientOpts{
		"kept up": {Reconnect: Reconnect{Mode: ReconnectAlways}},
		"several": {Balance: Balance{ConnsPerAddr: 2, Strategy: LeastInFlight}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := quietServer(t, nil)
			Handle(srv, "/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil })
			came := make(chan struct{}, 1)
			Handle(srv, "/note", func(*Context, *benchMessage) (*benchMessage, error) {
				came <- struct{}{}
				return nil, nil
			})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go srv.Serve(l)
			cli, err := Dial(t.Context(), l.Addr().String(), quietOpts(opts))
			if err != nil {
				t.Fatal(err)
			}
			defer cli.Close()
			budget{6, 1 << 10}.check(t, 2000, 1, echoSmall(cli))
			ctx, m := context.Background(), newBenchMessage()
			budget{4, 1 << 10}.check(t, 2000, 1, func() error {
				err := cli.SendMessage(ctx, "/note", m)
				if err == nil {
					<-came
				}
				return err
			})
		})
	}
}
