package natsbus

import (
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc"
)

// What is sent as an io.Reader reaches all instances of Bind and one of QueueBind over NATS, each by a connection of its own, and in little memory.
func TestCast(t *testing.T) {
	const size, most, instances = 20 << 20, 12 << 20, 4
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	var mu sync.Mutex
	took := map[string]int64{}
	take := func(name string) func(io.Reader) error {
		return func(r io.Reader) error {
			n, err := check(r)
			mu.Lock()
			defer mu.Unlock()
			took[name] += n
			return err
		}
	}
	for range instances {
		svc, bus := connected(t, s, "archive")
		err := errors.Join(svc.Bind("put").To(take(svc.ID())), svc.QueueBind("put").To(take("one")), bus.Flush(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
	}
	caller, _ := connected(t, s, "caller")
	stop := make(chan struct{})
	peak := watchHeap(stop)
	if err := caller.Service("archive").Send(t.Context(), "put", &counted{size: size}); err != nil {
		t.Error(err)
	}
	close(stop)
	if grown := <-peak; grown > most {
		t.Errorf("the heap has grown by %d MiB, of which %d are allowed", grown>>20, most>>20)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(took) != instances+1 {
		t.Errorf("%d have read it, not %d", len(took), instances+1)
	}
	for name, n := range took {
		if n != size {
			t.Errorf("%s has read %d bytes of %d", name, n, size)
		}
	}
	err := caller.Service("archive").Send(t.Context(), "nowhere", &counted{size: size})
	if !errors.Is(err, flyrpc.Unavailable) {
		t.Errorf("nobody: %v", err)
	}
}
