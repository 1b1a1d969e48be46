package flyrpc

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRollingRestart: three servers are shut down and started again one after the other, again and again, under load: nothing
// that is idempotent fails, nor anything that was not sent, and nothing at all as long as the servers let calls end.
func TestRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		cli := c.client("mem://a,b,c", nil)
		var stop atomic.Bool
		var done atomic.Int32
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					ctx = WithIdempotent(ctx)
				}
				for n := 0; !stop.Load(); n++ {
					var err error
					switch (n + i) % 4 {
					case 0:
						err = cli.Call(ctx, "/who", nil, nil)
					case 1:
						err = cli.Call(ctx, "/work", time.Duration(1+i)*time.Millisecond, nil)
					case 2:
						err = cli.Go(ctx, "/work", time.Millisecond, nil).Err()
					case 3:
						for _, failed := range Receive[string](ctx, cli, "/work", time.Millisecond) {
							err = errors.Join(err, failed)
						}
					}
					if err != nil {
						t.Errorf("%v: %v", Outcome(err), err)
					}
					done.Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for range 4 {
			for _, name := range []string{"a", "b", "c"} {
				time.Sleep(time.Second)
				if err := c.srvs[name].Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Millisecond)
				c.start(name)
			}
		}
		stop.Store(true)
		all.Wait()
		if done.Load() < 10_000 {
			t.Errorf("%d calls", done.Load())
		}
	})
}

// TestRollingCrash: the same with servers that are cut off: every idempotent call succeeds, and those that fail are of unknown outcome.
func TestRollingCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		cli := c.client("mem://a,b,c", nil)
		var stop atomic.Bool
		var failed atomic.Int32
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					ctx = WithIdempotent(ctx)
				}
				for !stop.Load() {
					err := cli.Call(ctx, "/work", 5*time.Millisecond, nil)
					if err != nil {
						failed.Add(1)
						if i%2 == 0 || Outcome(err) != Unknown {
							t.Errorf("%v: %v", Outcome(err), err)
						}
					}
				}
			})
		}
		for range 4 {
			for _, name := range []string{"a", "b", "c"} {
				time.Sleep(time.Second + time.Millisecond)
				c.srvs[name].Close()
				time.Sleep(100 * time.Millisecond)
				c.start(name)
			}
		}
		stop.Store(true)
		all.Wait()
		if failed.Load() == 0 {
			t.Error("no call was in flight")
		}
	})
}
