package flyrpc

import (
	"fmt"
	"strconv"
	"testing"
)

// BenchmarkDispatch calls one handler of each way of registering with a message in JSON,
// and without any message: what the way costs beside the decoding.
func BenchmarkDispatch(b *testing.B) {
	reply := new(testReply)
	lookup := func(*Context, *testMessage) (*testReply, error) { return reply, nil }
	r := NewRouter()
	Handle(r, "handle", lookup)
	r.OnMessage("reflect", lookup)
	r.OnMessage("reflect_value", func(testMessage) testReply { return *reply })
	r.OnMessage("direct", func(*Context) (any, error) { return reply, nil })
	r.OnMessage("direct_text", func(*Context, string) (string, error) { return "", nil })
	r.OnMessage("reflect_text", func(string, *Context) (string, error) { return "", nil })
	r.Register("calc", &calcMethods{})
	b.Run("call", func(b *testing.B) {
		ctx := newTestContext(b, "call", nil, encodedBody, stdJSON())
		b.ReportAllocs()
		for b.Loop() {
			m := new(testMessage)
			if err := ctx.Decode(m); err != nil {
				b.Fatal(err)
			}
			if _, err := lookup(ctx, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, path := range []string{"handle", "reflect", "reflect_value", "calc/Add", "direct", "direct_text", "reflect_text"} {
		b.Run(path, func(b *testing.B) {
			ctx := newTestContext(b, path, nil, encodedBody, stdJSON())
			rt, _, _ := r.find([]byte(path))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.handler(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFind looks up paths among 1, 100 and 10,000 routes of each kind.
func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		r := NewRouter()
		for i := range n {
			r.OnMessage("/exact/"+strconv.Itoa(i), func() {})
			r.OnMessage("/pattern/"+strconv.Itoa(i)+"/{id}", func() {})
		}
		last := strconv.Itoa(n - 1)
		for name, path := range map[string]string{"exact": "/exact/" + last, "pattern": "/pattern/" + last + "/7", "none": "/none/" + last} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p := []byte(path)
				b.ReportAllocs()
				for b.Loop() {
					r.find(p)
				}
			})
		}
	}
}

// BenchmarkFindParallel looks up one path on all processors.
func BenchmarkFindParallel(b *testing.B) {
	r := NewRouter()
	r.OnMessage("/user/get", func() {})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		path := []byte("/user/get")
		for pb.Next() {
			r.find(path)
		}
	})
}

// BenchmarkOnMessage registers 1,000 routes and looks one up.
func BenchmarkOnMessage(b *testing.B) {
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%d/{id}", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := NewRouter()
		for _, path := range paths {
			r.OnMessage(path, func() {})
		}
		r.find([]byte("/7/x"))
	}
}
