package flyrpc

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// point is a message of the tests.
type point struct {
	X, Y int
	Name string
}

// kind is a kind of message: a handler that returns what it gets, what is sent, where the
// answer goes, and what must stand there.
type kind struct {
	name    string
	handler any
	message any
	reply   func() any
	want    any
}

// kinds are those that every serializer but Protocol Buffers carries.
func kinds() []kind {
	p := point{3, -4, "Ada"}
	return []kind{
		{"struct", func(v point) point { return v }, p, func() any { return new(point) }, p},
		{"pointer", func(v *point) *point { return v }, &p, func() any { return new(point) }, p},
		{"slice", func(v []point) []point { return v }, []point{p, p}, func() any { return new([]point) }, []point{p, p}},
		{"int", func(v int) int { return v }, 7, func() any { return new(int) }, 7},
		{"any", func(v any) any { return v }, true, func() any { return new(any) }, true},
	}
}

// rawKinds are those that need no serializer.
func rawKinds() []kind {
	return []kind{
		{"bytes", func(v []byte) []byte { return v }, []byte{0, 1, 0xFF}, func() any { return new([]byte) }, []byte{0, 1, 0xFF}},
		{"no bytes", func(v []byte) []byte { return v }, []byte{}, func() any { return new([]byte) }, []byte{}},
		{"string", func(v string) string { return v }, "žluť\x00", func() any { return new(string) }, "žluť\x00"},
		{"string as bytes", func(v []byte) []byte { return v }, "abc", func() any { return new(string) }, "abc"},
		{"bytes as any", func(v any) any { return v }, []byte{9}, func() any { return new(any) }, []byte{9}},
		{"string as any", func(v any) any { return v }, "text", func() any { return new(any) }, "text"},
		{"nil", func(v *point) any {
			if *v != (point{}) {
				return *v
			}
			return nil
		}, nil, func() any { return &point{1, 2, "kept"} }, point{1, 2, "kept"}},
		{"nil as any", func(v any) any { return v }, nil, func() any { return new(any) }, nil},
	}
}

// protoKinds are those that Protocol Buffers carry.
func protoKinds() []kind {
	m := wrapperspb.String("Ada")
	return []kind{{
		"proto", func(v *wrapperspb.StringValue) *wrapperspb.StringValue { return v },
		m, func() any { return new(wrapperspb.StringValue) }, m,
	}}
}

// TestKinds sends every kind of message with every serializer in both directions, as a call, a
// call whose reply nobody wants, a started call, and a message.
func TestKinds(t *testing.T) {
	for _, s := range []struct {
		ser   serializer.Serializer
		kinds []kind
	}{
		{json.Serializer, append(kinds(), rawKinds()...)},
		{msgpack.Serializer, append(kinds(), rawKinds()...)},
		{protobuf.Serializer, append(protoKinds(), rawKinds()...)},
	} {
		t.Run(s.ser.Name(), func(t *testing.T) {
			seen := make(chan any, 1)
			p := newPair(t, &ServerOpts{Serializers: []serializer.Serializer{s.ser}}, &ClientOpts{Serializer: s.ser}, func(srv *Server, cli *Client) {
				for _, k := range s.kinds {
					for _, r := range []Registrar{srv, cli} {
						r.registrar().OnMessage("/"+k.name, k.handler)
						r.registrar().With(tell(seen)).OnMessage("/told/"+k.name, k.handler)
					}
				}
			})
			if got := p.cc.PeerInfo().Serializer; got != s.ser.Name() {
				t.Fatalf("the serializer is %s", got)
			}
			for _, k := range s.kinds {
				t.Run(k.name+"/up", func(t *testing.T) { k.run(t, p.cc, seen) })
				t.Run(k.name+"/down", func(t *testing.T) { k.run(t, p.sc, seen) })
			}
		})
	}
}

// tell is a middleware that tells what a handler has returned.
func tell(seen chan<- any) Middleware {
	return func(next Handler) Handler {
		return func(ctx *Context) (any, error) {
			v, err := next(ctx)
			if err != nil {
				v = err
			}
			seen <- v
			return v, err
		}
	}
}

// run sends k in all ways.
func (k kind) run(t *testing.T, c *Conn, seen <-chan any) {
	ctx := bounded(t)
	reply := k.reply()
	if err := c.Call(ctx, "/"+k.name, k.message, reply); err != nil {
		t.Fatal("Call:", err)
	}
	k.check(t, "Call", reply)
	started := k.reply()
	if err := c.Go(ctx, "/"+k.name, k.message, started).Err(); err != nil {
		t.Fatal("Go:", err)
	}
	k.check(t, "Go", started)
	if err := c.Call(ctx, "/told/"+k.name, k.message, nil); err != nil {
		t.Fatal("Call without reply:", err)
	}
	first := await1(t, seen, "the handler")
	if err := c.SendMessage(ctx, "/told/"+k.name, k.message); err != nil {
		t.Fatal("SendMessage:", err)
	}
	second := await1(t, seen, "the handler")
	if err, failed := second.(error); failed || !sameMessage(first, second) {
		t.Errorf("the handler of the message got %v, that of the call %v (%v)", second, first, err)
	}
}

// check checks what an answer was decoded into.
func (k kind) check(t *testing.T, how string, reply any) {
	t.Helper()
	if m, ok := k.want.(proto.Message); ok {
		if !sameMessage(m, reply) {
			t.Errorf("%s: got %v, want %v", how, reply, m)
		}
		return
	}
	if got := reflect.ValueOf(reply).Elem().Interface(); !reflect.DeepEqual(got, k.want) {
		t.Errorf("%s: got %#v, want %#v", how, got, k.want)
	}
}

func sameMessage(a, b any) bool {
	m, ok := a.(proto.Message)
	if !ok {
		return reflect.DeepEqual(a, b)
	}
	n, ok := b.(proto.Message)
	return ok && proto.Equal(m, n)
}

// TestBothWaysAtOnce has calls, started calls, messages and pings cross on one connection.
func TestBothWaysAtOnce(t *testing.T) {
	const n = 100
	var messages sync.WaitGroup
	messages.Add(2 * n)
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		for _, r := range []Registrar{srv, cli} {
			r.registrar().OnMessage("/echo", func(v point) point { return v })
			r.registrar().OnMessage("/message", func(int) { messages.Done() })
		}
	})
	ctx := bounded(t)
	var wg sync.WaitGroup
	for _, c := range []*Conn{p.cc, p.sc} {
		for i := range n {
			wg.Go(func() { echoOnce(ctx, t, c, i) })
			wg.Go(func() {
				if err := c.SendMessage(ctx, "/message", i); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			for range n {
				if _, err := c.Ping(64, patience); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	done := make(chan struct{})
	go func() { messages.Wait(); close(done) }()
	await1(t, done, "the messages")
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// echoOnce calls /echo in two ways and checks the answers.
func echoOnce(ctx context.Context, t *testing.T, c *Conn, i int) {
	q := point{i, -i, fmt.Sprint(i)}
	var a, b point
	pending := c.Go(ctx, "/echo", q, &a)
	if err := c.Call(ctx, "/echo", &q, &b); err != nil {
		t.Error(err)
	}
	select {
	case <-pending.Done():
	case <-time.After(patience):
		t.Error("no answer")
		return
	}
	if err := pending.Err(); err != nil || a != q || b != q {
		t.Errorf("%v: got %v and %v, %v", q, a, b, err)
	}
}
