package flyrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever is lost, comes twice, or up to 9 s late, in both directions and across all timers: no call runs twice, each ends,
// and the answer that it has is its own.
func TestDatagramOnce(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) { datagramOnce(t, seed) })
	}
}

// datagramOnce makes calls for minutes. Many are given up, and many handlers take longer than anything is kept.
func datagramOnce(t *testing.T, seed uint64) {
	var ran executions
	handle := func(n int) int {
		ran.run(n)
		time.Sleep([]time.Duration{0, 0, 0, time.Second, 15 * time.Second, 70 * time.Second}[n%6])
		return n
	}
	srv := quietServer(t, nil)
	srv.OnMessage("/x", handle)
	cli, end := packetPair(t, srv, &ClientOpts{KeepaliveInterval: time.Minute})
	cli.OnMessage("/x", handle)
	if err := cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	end.setFate(lossy(seed, 0.3, 9*time.Second))
	end.peer.setFate(lossy(seed+100, 0.3, 9*time.Second))
	chance := rand.New(rand.NewPCG(seed, 2))
	var calls sync.WaitGroup
	var mu sync.Mutex
	answered, refused := map[int]bool{}, map[int]bool{}
	const most = 2000
	for n := range most {
		c := []*Conn{cli.Conn(), srv.Conns()[0]}[n/6%2]
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if chance.IntN(4) == 0 {
			ctx, cancel = context.WithCancel(ctx)
			time.AfterFunc(time.Duration(chance.Int64N(int64(20*time.Second))), cancel)
		}
		calls.Go(func() {
			defer cancel()
			got, err := Call[int](ctx, c, "/x", n)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && got == n:
				answered[n] = true
			case err == nil:
				t.Errorf("call %d has the answer of %d", n, got)
			case Outcome(err) == NotSent, Outcome(err) == NotProcessed:
				refused[n] = true
			case !errors.Is(err, Canceled) && Outcome(err) != Answered: // it may be that all its answers were lost for 30 s
				t.Errorf("call %d: %v", n, err)
			}
		})
		time.Sleep(time.Duration(chance.Int64N(int64(200 * time.Millisecond))))
	}
	calls.Wait()
	time.Sleep(2 * time.Minute) // what is late arrives, and handlers end
	if err := ran.check(most, answered); err != nil {
		t.Error(err)
	}
	for n := range refused {
		if ran.times[n] > 0 {
			t.Errorf("call %d was not processed, and ran", n)
		}
	}
	if len(answered) < most/2 {
		t.Errorf("%d of %d calls were answered, %d refused", len(answered), most, len(refused))
	}
}
