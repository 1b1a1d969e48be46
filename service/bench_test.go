package service_test

import (
	"bytes"
	"testing"

	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// benchmark gives f a client of a service that echoes.
func benchmark(b *testing.B, f func(c *service.Client)) {
	bus := membus.New(nil)
	defer bus.Close()
	s := service.New("s", bus.Join(), nil)
	defer s.Close()
	if err := s.QueueBind("echo").To(func(u *user) *user { return u }); err != nil {
		b.Fatal(err)
	}
	if err := s.QueueBind("bytes").To(func(v []byte) []byte { return v }); err != nil {
		b.Fatal(err)
	}
	caller := service.New("caller", bus.Join(), nil)
	defer caller.Close()
	b.ReportAllocs()
	f(caller.Service("s"))
}

func BenchmarkRequest(b *testing.B) {
	benchmark(b, func(c *service.Client) {
		for b.Loop() {
			var u user
			if err := c.Request(b.Context(), "echo", &user{7, "Ada"}).Into(&u); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRequests128(b *testing.B) {
	benchmark(b, func(c *service.Client) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				var u user
				if err := c.Request(b.Context(), "echo", &user{7, "Ada"}).Into(&u); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkMiB(b *testing.B) {
	benchmark(b, func(c *service.Client) {
		data := bytes.Repeat([]byte("mebibyte"), 1<<17)
		b.SetBytes(2 * int64(len(data)))
		for b.Loop() {
			var got []byte
			if err := c.Request(b.Context(), "bytes", data).Into(&got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
