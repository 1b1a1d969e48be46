package flyrpc

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestHedge: an idempotent call that takes long is made by another connection too, and the first answer counts.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		cli := c.client("mem://a,b", &ClientOpts{Balance: Balance{Hedge: 100 * time.Millisecond}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var canceled atomic.Int32
		for name, srv := range c.srvs {
			srv.OnMessage("/slow", func(ctx *Context) (string, error) {
				ctx.SetMeta("from", name)
				if name == "b" {
					return name, nil
				}
				<-ctx.Done()
				canceled.Add(1)
				return "", ctx.Err()
			})
			srv.OnMessage("/no", func(ctx *Context) error { time.Sleep(time.Second); ctx.SetMeta("from", name); return NotFound })
		}
		slow := 0
		for range 4 {
			var meta Metadata
			ctx := WithIdempotent(WithReplyMeta(t.Context(), &meta))
			begin := time.Now()
			got, err := Call[string](ctx, cli, "/slow", nil)
			if got != "b" || err != nil || meta.Get("from") != "b" {
				t.Errorf("%q, %v, %q", got, err, meta)
			}
			if time.Since(begin) == 100*time.Millisecond {
				slow++
			}
		}
		synctest.Wait()
		if slow == 0 || canceled.Load() != int32(slow) {
			t.Errorf("%d were hedged, %d cancelled", slow, canceled.Load())
		}
		var meta Metadata
		wantErr(t, cli.Call(WithIdempotent(WithReplyMeta(t.Context(), &meta)), "/no", nil, nil), NotFound, Answered)
		if meta.Get("from") == "" {
			t.Error("an answer that is an error has lost its metadata")
		}
		if err := cli.Go(WithIdempotent(t.Context()), "/who", nil, nil).Err(); err != nil {
			t.Error(err)
		}
		c.works.Store(0)
		if err := cli.Call(t.Context(), "/work", time.Second, nil); err != nil || c.works.Load() != 1 {
			t.Errorf("%v: what isn't idempotent was executed %d times", err, c.works.Load())
		}
		ctx, cancel := context.WithTimeout(WithIdempotent(t.Context()), time.Second)
		defer cancel()
		if err := cli.Call(ctx, "/work", time.Hour, nil); !errors.Is(err, Timeout) || c.works.Load() != 3 {
			t.Error(err, c.works.Load())
		}
	})
}

// TestHedgeLost: a hedged call whose connections are both lost is made again; without another connection it isn't hedged.
func TestHedgeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		cli := c.client("mem://a,b", &ClientOpts{Balance: Balance{Hedge: 100 * time.Millisecond}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := make(chan error, 1)
		go func() { got <- cli.Call(WithIdempotent(t.Context()), "/work", time.Second, new(string)) }()
		time.Sleep(time.Second / 2)
		c.srvs["a"].Close()
		c.srvs["b"].Close()
		c.start("b")
		if err := <-got; err != nil || c.works.Load() != 3 {
			t.Error(err, c.works.Load())
		}
		if err := cli.Call(WithIdempotent(t.Context()), "/work", time.Second, nil); err != nil || c.works.Load() != 4 {
			t.Error(err, c.works.Load())
		}
	})
}
