package natsbus

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/service"
)

// benchMessage is what benchmarks send and get back.
type benchMessage struct {
	ID   int
	Name string
	Tags []string
}

func benchValue() *benchMessage { return &benchMessage{7, "Ada Lovelace", []string{"a", "b"}} }

// sides are the two that are compared: a service, and nats.go with the same serializer. Each has two connections to the same server, over TCP.
type sides struct {
	client *service.Client
	bare   *nats.Conn
	sent   atomic.Int64 // messages that were taken by either
	data   []byte       // what the reader of 1 MiB reads
}

// newSides starts both. The options are those of nats.go's own connections.
func newSides(b *testing.B, opts ...nats.Option) *sides {
	b.Helper()
	s, err := Embedded(&EmbeddedOpts{Listen: "127.0.0.1:0", MaxPayload: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	x := &sides{data: bytes.Repeat([]byte{7}, 1<<20)}
	x.serve(b, s.URL())
	x.respond(b, s.URL(), opts)
	return x
}

// serve starts the service and its client.
func (x *sides) serve(b *testing.B, url string) {
	b.Helper()
	var ends [2]*service.Service
	for i, name := range []string{"echo", "caller"} {
		bus, err := Connect(url, nil)
		if err != nil {
			b.Fatal(err)
		}
		ends[i] = service.New(name, bus, nil)
		b.Cleanup(func() {
			ends[i].Close()
			bus.Close()
		})
	}
	for subject, h := range map[string]any{
		"struct": func(m *benchMessage) *benchMessage { return m },
		"note":   func(*benchMessage) { x.sent.Add(1) },
		"read":   func() io.Reader { return bytes.NewReader(x.data) },
	} {
		if err := ends[0].QueueBind(subject).To(h); err != nil {
			b.Fatal(err)
		}
	}
	x.client = ends[1].Service("echo")
}

// respond starts nats.go's own responder and requester.
func (x *sides) respond(b *testing.B, url string, opts []nats.Option) {
	b.Helper()
	var ends [2]*nats.Conn
	for i := range ends {
		nc, err := nats.Connect(url, opts...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		ends[i] = nc
	}
	for subject, h := range map[string]nats.MsgHandler{
		"bare.struct": func(m *nats.Msg) {
			var v benchMessage
			if err := msgpack.Serializer.Decode(m.Data, &v); err != nil {
				b.Error(err)
			}
			out, err := msgpack.Serializer.Encode(nil, &v)
			if err != nil {
				b.Error(err)
			}
			_ = m.Respond(out)
		},
		"bare.note": func(m *nats.Msg) {
			var v benchMessage
			if err := msgpack.Serializer.Decode(m.Data, &v); err != nil {
				b.Error(err)
			}
			x.sent.Add(1)
		},
		"bare.read": func(m *nats.Msg) { _ = m.Respond(x.data) },
	} {
		if _, err := ends[0].QueueSubscribe(subject, "q", h); err != nil {
			b.Fatal(err)
		}
	}
	if err := ends[0].Flush(); err != nil {
		b.Fatal(err)
	}
	x.bare = ends[1]
}

// call requests a struct of the service.
func (x *sides) call(b *testing.B) {
	var v benchMessage
	if err := x.client.Request(context.Background(), "struct", benchValue()).Into(&v); err != nil || v.ID != 7 {
		b.Error(v, err)
	}
}

// callBare requests a struct of nats.go.
func (x *sides) callBare(b *testing.B) {
	out, err := msgpack.Serializer.Encode(nil, benchValue())
	if err != nil {
		b.Error(err)
	}
	m, err := x.bare.Request("bare.struct", out, 30*time.Second)
	if err != nil {
		b.Error(err)
		return
	}
	var v benchMessage
	if err := msgpack.Serializer.Decode(m.Data, &v); err != nil || v.ID != 7 {
		b.Error(v, err)
	}
}

// send sends a struct one way, and sendBare does by nats.go.
func (x *sides) send(b *testing.B) {
	if err := x.client.Send(context.Background(), "note", benchValue()); err != nil {
		b.Error(err)
	}
}

func (x *sides) sendBare(b *testing.B) {
	out, err := msgpack.Serializer.Encode(nil, benchValue())
	if err == nil {
		err = x.bare.Publish("bare.note", out)
	}
	if err != nil {
		b.Error(err)
	}
}

// read streams 1 MiB, and readBare gets it as one message.
func (x *sides) read(b *testing.B) {
	var r io.ReadCloser
	if err := x.client.Request(context.Background(), "read", nil).Into(&r); err != nil {
		b.Error(err)
		return
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(x.data)) {
		b.Error(n, err)
	}
	r.Close()
}

func (x *sides) readBare(b *testing.B) {
	if m, err := x.bare.Request("bare.read", nil, 30*time.Second); err != nil || len(m.Data) != len(x.data) {
		b.Error(err)
	}
}

// Both sides take turns in each run, in some 40 rounds, so that whatever else the machine does meets both; what counts is the median round of each. The
// time of an operation of the benchmark is that of both together; ns/fly and ns/nats are each one's own, and fly/nats is how many calls FlyRPC does
// for each one of nats.go. allocs/fly and allocs/nats are what the whole process, server and both ends, has allocated for one.
func compare(b *testing.B, callers int, fly, bare func(*testing.B)) {
	var took, allocs [2][]float64 // nanoseconds and allocations of an operation, by rounds
	round := max(b.N/40, 8*callers)
	for done := 0; done < b.N; done += round {
		n := min(b.N-done, round)
		for i, do := range []func(*testing.B){fly, bare} {
			before := mallocs()
			begun := time.Now()
			parallel(n, callers, func() { do(b) })
			took[i] = append(took[i], float64(time.Since(begun).Nanoseconds())/float64(n))
			allocs[i] = append(allocs[i], (mallocs()-before)/float64(n))
		}
	}
	var median [2]float64
	for i, name := range []string{"fly", "nats"} {
		slices.Sort(took[i])
		slices.Sort(allocs[i])
		median[i] = took[i][len(took[i])/2]
		b.ReportMetric(allocs[i][len(allocs[i])/2], "allocs/"+name)
	}
	b.ReportMetric(median[0], "ns/fly")
	b.ReportMetric(median[1], "ns/nats")
	b.ReportMetric(median[1]/median[0], "fly/nats")
}

// mallocs returns how many allocations the process has made.
func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

// parallel does something n times, by so many goroutines.
func parallel(n, callers int, do func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range min(callers, n) {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
}

func BenchmarkRequest1(b *testing.B) {
	x := newSides(b)
	compare(b, 1, x.call, x.callBare)
}

// BenchmarkRequest1Direct is BenchmarkRequest1 where nats.go's own connections have WriteAtOnce too.
func BenchmarkRequest1Direct(b *testing.B) {
	x := newSides(b, WriteAtOnce())
	compare(b, 1, x.call, x.callBare)
}

func BenchmarkRequest128(b *testing.B) {
	x := newSides(b)
	compare(b, 128, x.call, x.callBare)
}

// An operation is 100 messages, and that all of them were taken.
func BenchmarkSend100(b *testing.B) {
	x := newSides(b)
	batch := func(send func(*testing.B)) func(*testing.B) {
		return func(b *testing.B) {
			x.sent.Store(0)
			for range 100 {
				send(b)
			}
			for x.sent.Load() < 100 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}
	compare(b, 1, batch(x.send), batch(x.sendBare))
}

func BenchmarkRead1MiB(b *testing.B) {
	x := newSides(b)
	b.SetBytes(2 << 20)
	compare(b, 1, x.read, x.readBare)
}
