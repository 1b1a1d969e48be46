package flyrpc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"sync"
	"testing"
)

// benchMessage is the message of all benchmarks: about 64 bytes on the wire.
type benchMessage struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Payload []byte `json:"payload"`
}

func newBenchMessage() *benchMessage {
	return &benchMessage{ID: 1 << 40, Name: "Ada Lovelace", Payload: bytes.Repeat([]byte{7}, 24)}
}

// benchWireSize is what one echo takes on the wire, for the raw benchmarks.
const benchWireSize = 64

// BenchmarkCall measures echo calls of one message over one TCP connection, client
// and server in this process, beside raw TCP and net/rpc. The raw ping-pong is the floor for one caller;
// raw pipelined, which writes the messages of all callers at once and knows no calls,
// is the ceiling for many.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 16, 128, 1024} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.Run("raw", func(b *testing.B) { benchRaw(b, callers) })
			b.Run("netrpc", func(b *testing.B) { benchNetRPC(b, callers) })
			b.Run("flyrpc", func(b *testing.B) { benchTyped(b, callers) })
			b.Run("flyrpc-generic", func(b *testing.B) {
				benchCalls(b, callers, func(s *Server) {
					Handle(s, "/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil })
				})
			})
			b.Run("flyrpc-inline", func(b *testing.B) {
				benchCalls(b, callers, func(s *Server) {
					Handle(s, "/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil }, Inline)
				})
			})
		})
	}
}

func benchTyped(b *testing.B, callers int) {
	benchCalls(b, callers, func(s *Server) {
		s.OnMessage("/echo", func(_ *Context, m *benchMessage) (*benchMessage, error) { return m, nil })
	})
}

// benchCalls measures calls of the handler that register adds.
func benchCalls(b *testing.B, callers int, register func(*Server)) {
	srv := NewServer(nil)
	register(srv)
	l := benchListen(b)
	go srv.Serve(l)
	defer srv.Close()
	cli, err := Dial(context.Background(), l.Addr().String(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer cli.Close()
	if err := cli.Call(context.Background(), "/echo", newBenchMessage(), nil); err != nil {
		b.Fatal(err)
	}
	conns := []*Conn{cli.Conn(), srv.Conns()[0]}
	before := writeCalls(conns)
	ctx := context.Background()
	benchRun(b, callers, func(n int) error {
		m := newBenchMessage()
		var reply benchMessage
		for range n {
			reply = benchMessage{}
			if err := cli.Call(ctx, "/echo", m, &reply); err != nil {
				return err
			}
		}
		if reply.ID != m.ID || reply.Name != m.Name || !bytes.Equal(reply.Payload, m.Payload) {
			return fmt.Errorf("got %+v", reply)
		}
		return nil
	})
	b.ReportMetric(float64(writeCalls(conns)-before)/float64(b.N), "writes/op")
}

// writeCalls returns the write calls made on connections so far.
func writeCalls(conns []*Conn) (n uint64) {
	for _, c := range conns {
		c.proto.out.mu.Lock()
		n += c.proto.out.writes
		c.proto.out.mu.Unlock()
	}
	return n
}

// benchRun divides b.N calls among the callers and measures them.
func benchRun(b *testing.B, callers int, call func(n int) error) {
	b.ReportAllocs()
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		if n == 0 {
			continue
		}
		wg.Go(func() {
			if err := call(n); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func benchNetRPC(b *testing.B, callers int) {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Echo", netRPCService{}); err != nil {
		b.Fatal(err)
	}
	l := benchListen(b)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			srv.ServeConn(c)
		}
	}()
	cli, err := rpc.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer cli.Close()
	benchRun(b, callers, func(n int) error {
		m := NetRPCMessage(*newBenchMessage())
		for range n {
			var reply NetRPCMessage
			if err := cli.Call("Echo.Echo", &m, &reply); err != nil {
				return err
			}
		}
		return nil
	})
}

// NetRPCMessage is benchMessage under a name that net/rpc accepts.
type NetRPCMessage benchMessage

type netRPCService struct{}

// Echo returns its argument.
func (netRPCService) Echo(m *NetRPCMessage, reply *NetRPCMessage) error {
	*reply = *m
	return nil
}

// benchRaw measures messages of 64 bytes that a peer sends back: for one caller one
// after the other, for more all of theirs in one write.
func benchRaw(b *testing.B, callers int) {
	l := benchListen(b)
	defer l.Close()
	go echoRaw(l)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, callers*benchWireSize)
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= callers {
		part := buf[:min(left, callers)*benchWireSize]
		if _, err := c.Write(part); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, part); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// echoRaw sends back what one connection sends.
func echoRaw(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func benchListen(b *testing.B) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}
