package service_test

import (
	"crypto/sha256"
	"flag"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
	"github.com/go-flyrpc/flyrpc/service/membus"
)

// streamSize is how much TestMemoryOfStreams sends each way, in MiB: -mib 1024 is the whole GiB.
var streamSize = flag.Int64("mib", 64, "size of the streams of TestMemoryOfStreams in MiB")

// noise is a reader of bytes that aren't the same twice.
func noise() io.Reader { return rand.NewChaCha8([32]byte{1}) }

// peak measures how large the heap gets until stop is called.
func peak() (stop func() uint64) {
	var most atomic.Uint64
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(end)
		<-ended
		return most.Load()
	}
}

// Streams of any size pass through a service in little memory, both ends and the bus together, however slow a side is.
func TestMemoryOfStreams(t *testing.T) {
	bus := membus.New(nil)
	defer bus.Close()
	s := service.New("files", bus.Join(), nil)
	defer s.Close()
	size := *streamSize << 20
	sums := make(chan hash.Hash, 1)
	err := s.QueueBind("put").To(func(r io.Reader) (int64, error) {
		h := sha256.New()
		n, err := io.Copy(h, r)
		sums <- h
		return n, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.QueueBind("get").To(func() io.Reader { return io.LimitReader(noise(), size) }); err != nil {
		t.Fatal(err)
	}
	caller := service.New("caller", bus.Join(), nil)
	defer caller.Close()
	c := caller.Service("files")

	want := sha256.New()
	if _, err := io.Copy(want, io.LimitReader(noise(), size)); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	stop := peak()
	n, err := flyrpc.Call[int64](t.Context(), c, "put", io.LimitReader(noise(), size))
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	var r io.ReadCloser
	if err := c.Request(t.Context(), "get", nil).Into(&r); err != nil {
		t.Fatal(err)
	}
	got := sha256.New()
	if n, err = io.Copy(got, r); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	most := stop()
	if string(got.Sum(nil)) != string(want.Sum(nil)) || string((<-sums).Sum(nil)) != string(want.Sum(nil)) {
		t.Error("the bytes aren't those that were sent")
	}
	t.Logf("%d MiB each way, %.1f MiB of heap at the most", *streamSize, float64(most)/(1<<20))
	if most > 64<<20 {
		t.Errorf("the heap had %d MiB, 64 are the limit", most>>20)
	}
}

// One caller's memory for large messages is bounded, and those that wait for it get their turn.
func TestManyLargeMessages(t *testing.T) {
	bubble(t, func(t *net) {
		o := &service.Opts{MaxHeld: 8 << 20, MaxMessage: 2 << 20}
		s := t.service("s", o)
		t.to(s.QueueBind("len"), func(b []byte) int { time.Sleep(time.Second); return len(b) })
		c := t.service("caller", o).Service("s")
		results := make(chan error, 40)
		for range cap(results) {
			go func() {
				n, err := flyrpc.Call[int](t.Context(), c, "len", make([]byte, 3<<19))
				if err == nil && n != 3<<19 {
					err = flyrpc.Errorf(flyrpc.Internal, "%d bytes", n)
				}
				results <- err
			}()
		}
		for range cap(results) {
			t.check(<-results)
		}
	})
}
