package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// cluster is some servers in one network, each at an address with its name.
type cluster struct {
	t    *testing.T
	mem  *transport.Mem
	srvs map[string]*Server

	mu    sync.Mutex
	calls map[string]int // of /who, by server
	works atomic.Int32   // executions of /work
}

func newCluster(t *testing.T, names ...string) *cluster {
	c := &cluster{t: t, mem: transport.NewMem(), srvs: map[string]*Server{}, calls: map[string]int{}}
	for _, name := range names {
		c.start(name)
	}
	return c
}

// start starts a server, anew if it was there before.
func (c *cluster) start(name string) {
	c.t.Helper()
	srv := quietServer(c.t, nil)
	srv.OnMessage("/who", func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls[name]++
		return name
	})
	srv.OnMessage("/work", func(ctx context.Context, d time.Duration) string {
		c.works.Add(1)
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return name
	})
	srv.OnMessage("/fail", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls[name]++; name == "b" {
			return Internal
		}
		return nil
	})
	l, err := c.mem.Listen(context.Background(), &url.URL{Scheme: "mem", Host: name})
	if err != nil {
		c.t.Fatal(err)
	}
	c.srvs[name] = srv
	go srv.Serve(l)
}

// client returns a client that is closed with the test.
func (c *cluster) client(addr string, opts *ClientOpts) *Client {
	c.t.Helper()
	o := *quietOpts(opts)
	o.Transports = []transport.Transport{c.mem}
	cli := NewClient(addr, &o)
	c.t.Cleanup(func() { cli.Close() })
	return cli
}

// counts returns how many calls each server has had, and forgets them.
func (c *cluster) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = map[string]int{}
	return calls
}

// who calls n times.
func (c *cluster) who(ctx context.Context, cli *Client, n int) map[string]int {
	c.t.Helper()
	for range n {
		if err := cli.Call(ctx, "/who", nil, nil); err != nil {
			c.t.Fatal(err)
		}
	}
	return c.counts()
}

func TestSplitAddr(t *testing.T) {
	tests := map[string][]string{
		"localhost:7000":          {"localhost:7000"},
		"a:1,b:2":                 {"a:1", "b:2"},
		"tcp://a:1,b:1,c:1":       {"tcp://a:1", "tcp://b:1", "tcp://c:1"},
		"tcp://a:1,tls://b:1,c:1": {"tcp://a:1", "tls://b:1", "tls://c:1"},
		"unix:///run/a,b":         {"unix:///run/a,b"},
		"unix:///a,unix:///b,c":   {"unix:///a", "unix:///b,c"},
		"":                        {""},
		"tcp://a:1,":              {"tcp://a:1", "tcp://"},
	}
	for addr, want := range tests {
		if got := splitAddr(addr); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

// TestRoundRobin: calls of all kinds go to all addresses in turn, and while one is down to the others.
func TestRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		cli := c.client("mem://a,b,c", nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.who(t.Context(), cli, 30); got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
			t.Error(got)
		}
		for range 10 {
			err := cli.SendMessage(t.Context(), "/who", nil)
			err = errors.Join(err, cli.Go(t.Context(), "/who", nil, nil).Err())
			for _, failed := range Receive[string](t.Context(), cli, "/who", nil) {
				err = errors.Join(err, failed)
			}
			if _, failed := cli.Ping(0, 0); err != nil || failed != nil {
				t.Fatal(err, failed)
			}
		}
		synctest.Wait()
		if got := c.counts(); got["a"] < 5 || got["b"] < 5 || got["c"] < 5 || got["a"]+got["b"]+got["c"] != 30 {
			t.Error(got)
		}
		c.srvs["b"].Close()
		synctest.Wait()
		if got := c.who(t.Context(), cli, 30); got["a"] != 15 || got["c"] != 15 || cli.State() != Connected {
			t.Error(got)
		}
		c.start("b")
		time.Sleep(2 * DefaultReconnectMaxPause)
		if got := c.who(t.Context(), cli, 30); got["b"] != 10 {
			t.Error(got)
		}
		if cli.Conn().Err() != nil {
			t.Error("Conn returns one that is lost")
		}
		for _, srv := range c.srvs {
			srv.Close()
		}
		synctest.Wait()
		if cli.Conn() == nil || cli.State() == Connected {
			t.Error("all are lost", cli.State())
		}
	})
}

// TestConnectAll: Connect returns with the first connection, or fails when all addresses have been tried.
func TestConnectAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "c")
		cli := c.client("mem://a,b,c", nil)
		if cli.Conn() != nil {
			t.Error("a connection")
		}
		if err := cli.Connect(t.Context()); err != nil {
			t.Error(err)
		}
		none := c.client("mem://a,b", nil)
		err := none.Connect(t.Context())
		wantErr(t, err, Unavailable, NotSent)
		wantErr(t, none.Connect(t.Context()), Unavailable, NotSent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		slow := c.client("", &ClientOpts{Resolver: Addrs{}})
		wantErr(t, slow.Connect(ctx), Timeout, NotSent)
		many := c.client("mem://a,b", &ClientOpts{Balance: Balance{ConnsPerAddr: maxLinks/2 + 1}})
		wantErr(t, many.Connect(t.Context()), BadRequest, NotSent)
		wantErr(t, many.Call(t.Context(), "/who", nil, nil), BadRequest, NotSent)
		wrong := c.client("pigeon://coop,loft", nil)
		begin := time.Now()
		wantErr(t, wrong.Call(t.Context(), "/who", nil, nil), Unavailable, NotSent)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("what can't be dialled at all is waited for %v", d)
		}
		given := c.client("", &ClientOpts{Balance: Balance{ConnsPerAddr: 2}})
		wantErr(t, given.Connect(t.Context()), Unavailable, NotSent)
	})
}

// TestLeastInFlight: calls and streams go where the fewest are.
func TestLeastInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		cli := c.client("mem://a,b", &ClientOpts{Balance: Balance{Strategy: LeastInFlight}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s, err := cli.OpenStream(t.Context(), "/work", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.who(t.Context(), cli, 20); len(got) != 1 {
			t.Error("beside a stream", got)
		}
		s.Close()
		work := cli.Go(t.Context(), "/work", time.Minute, nil)
		if got := c.who(t.Context(), cli, 20); len(got) != 1 {
			t.Error("beside a call", got)
		}
		if err := work.Err(); err != nil {
			t.Fatal(err)
		}
		if got := c.who(t.Context(), cli, 20); len(got) != 2 {
			t.Error("alone", got)
		}
	})
}

// TestSticky: calls with a key go to one address while it is there, those of another key elsewhere.
func TestSticky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		cli := c.client("mem://a,b,c", &ClientOpts{Balance: Balance{Strategy: Sticky}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := map[string]int{}
		homes := map[string]string{}
		for i := range 60 {
			key := fmt.Sprint("user", i)
			got := c.who(WithStickyKey(t.Context(), key), cli, 3)
			if len(got) != 1 {
				t.Fatal(got)
			}
			for name := range got {
				all[name]++
				homes[key] = name
			}
		}
		if len(all) != 3 || all["a"] < 8 || all["b"] < 8 || all["c"] < 8 {
			t.Error(all)
		}
		if got := c.who(t.Context(), cli, 30); len(got) != 3 {
			t.Error("without a key", got)
		}
		c.srvs["a"].Close()
		synctest.Wait()
		for key, home := range homes {
			got := c.who(WithStickyKey(t.Context(), key), cli, 1)
			if home != "a" && got[home] != 1 || got["a"] != 0 {
				t.Errorf("%s went from %s to %v", key, home, got)
			}
		}
	})
}

// TestConnsPerAddr: so many connections are made to each address, and calls go by all.
func TestConnsPerAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a")
		cli := c.client("mem://a", &ClientOpts{Balance: Balance{ConnsPerAddr: 3}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(c.srvs["a"].Conns()); n != 3 {
			t.Errorf("%d connections", n)
		}
		seen := map[*Conn]bool{}
		for range 9 {
			seen[cli.Conn()] = true
		}
		if len(seen) != 3 {
			t.Errorf("%d connections are used", len(seen))
		}
		plain := c.client("mem://a", &ClientOpts{Balance: Balance{ConnsPerAddr: 1}})
		if plain.set != nil {
			t.Error("one connection needs no choice")
		}
	})
}

// TestBalanceBreaker: a connection by which calls fail again and again is left out for Pause, then tried with one call.
func TestBalanceBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		cli := c.client("mem://a,b", &ClientOpts{Balance: Balance{Failures: 3, Pause: 10 * time.Second, MaxPause: 15 * time.Second}})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		fail := func(n int) map[string]int {
			for range n {
				cli.Call(t.Context(), "/fail", nil, nil)
			}
			return c.counts()
		}
		if got := fail(100); got["b"] != 3 {
			t.Errorf("%d calls to what fails, want 3", got["b"])
		}
		for i, pause := range []time.Duration{10, 15, 15} {
			time.Sleep(pause*time.Second - time.Millisecond)
			if got := fail(10); got["b"] != 0 {
				t.Errorf("%d: %d calls too early", i, got["b"])
			}
			time.Sleep(time.Millisecond)
			if got := fail(10); got["b"] != 1 {
				t.Errorf("%d: %d calls, want one to try", i, got["b"])
			}
		}
		c.srvs["a"].Close() // b alone is left, and left out
		synctest.Wait()
		begin := time.Now()
		if err := cli.Call(t.Context(), "/who", nil, nil); err != nil || time.Since(begin) != 15*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if got := c.who(t.Context(), cli, 10); got["b"] != 11 {
			t.Error(got)
		}
	})
}
