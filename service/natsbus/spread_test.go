package natsbus

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Requests that travel together go to one member of a queue group, which NATS chooses at random; so few do that the instances have as much to do as
// each other, to a quarter.
func TestSpreadOfBundles(t *testing.T) {
	const instances, callers, calls = 4, 128, 100
	s := embedded(t, &EmbeddedOpts{Listen: "127.0.0.1:0"})
	var counts [instances]atomic.Int64
	for i := range counts {
		svc, _ := connected(t, s, "worker")
		if err := svc.QueueBind("work").To(func() { counts[i].Add(1) }); err != nil {
			t.Fatal(err)
		}
		if err := svc.Self().Request(t.Context(), "work", nil).Into(nil); err != nil { // the broker knows of it now
			t.Fatal(err)
		}
	}
	for i := range counts {
		counts[i].Store(0)
	}
	caller, _ := connected(t, s, "caller")
	c := caller.Service("worker")
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if err := c.Request(t.Context(), "work", nil).Into(nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	const each = callers * calls / instances
	for i := range counts {
		n := counts[i].Load()
		t.Logf("instance %d had %d calls", i, n)
		if n < each*3/4 || n > each*5/4 {
			t.Errorf("instance %d had %d calls of %d", i, n, each)
		}
	}
}
