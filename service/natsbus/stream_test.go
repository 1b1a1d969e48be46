package natsbus

import (
	"io"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

// counted is an io.Reader of so many bytes, which say where they stand.
type counted struct{ at, size int }

func (c *counted) Read(p []byte) (int, error) {
	n := min(len(p), c.size-c.at)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = byte((c.at + i) / 251)
	}
	c.at += n
	return n, nil
}

// What is streamed in either direction comes whole and in order, however slowly it is read, and neither side nor the server
// holds much of it: all three are in this process.
func TestStreamInLittleMemory(t *testing.T) {
	const size, most = 20 << 20, 12 << 20
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	var ends [2]*service.Service
	for i, name := range []string{"archive", "reader"} {
		bus, err := Connect(s.URL(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = service.New(name, bus, nil)
		defer bus.Close()
		defer ends[i].Close()
	}
	var received atomic.Int64
	if err := ends[0].QueueBind("get").To(func() io.Reader { return &counted{size: size} }); err != nil {
		t.Fatal(err)
	}
	if err := ends[0].QueueBind("put").To(func(r io.Reader) error {
		n, err := check(r)
		received.Store(n)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	to := ends[1].Service("archive")
	stop := make(chan struct{})
	peak := watchHeap(stop)
	var r io.ReadCloser
	if err := to.Request(t.Context(), "get", nil).Into(&r); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // whoever doesn't read has the other wait
	if n, err := check(r); err != nil || n != size {
		t.Errorf("got %d bytes, %v", n, err)
	}
	r.Close()
	if err := to.Request(t.Context(), "put", &counted{size: size}).Into(nil); err != nil || received.Load() != size {
		t.Errorf("sent %d bytes, %v", received.Load(), err)
	}
	close(stop)
	if grown := <-peak; grown > most {
		t.Errorf("the heap has grown by %d MiB, of which %d are allowed", grown>>20, most>>20)
	} else {
		t.Logf("the heap has grown by %d KiB", grown>>10)
	}
}

// check reads what counted has written.
func check(r io.Reader) (n int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		m, err := r.Read(buf)
		for i := range m {
			if buf[i] != byte((int(n)+i)/251) {
				return n, io.ErrUnexpectedEOF
			}
		}
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// watchHeap looks at what is alive in the heap until stop is closed, and sends how much that has grown at the most.
func watchHeap(stop <-chan struct{}) <-chan uint64 {
	heap := func() uint64 {
		runtime.GC() // what nobody needs any more doesn't count, whenever it would be collected
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	peak := make(chan uint64, 1)
	begin := heap()
	go func() {
		most := begin
		for {
			select {
			case <-time.After(5 * time.Millisecond):
				most = max(most, heap())
			case <-stop:
				peak <- most - begin
				return
			}
		}
	}()
	return peak
}
