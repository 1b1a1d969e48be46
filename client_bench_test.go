package flyrpc

import (
	"context"
	"testing"
)

// BenchmarkClientOverhead measures what a Client adds to a call of its Conn: with one address, with two connections, which it has to
// choose from by each strategy, and in the choice alone, without the call.
func BenchmarkClientOverhead(b *testing.B) {
	ctx := context.Background()
	clients := map[string]*ClientOpts{
		"one":         nil,
		"always":      {Reconnect: Reconnect{Mode: ReconnectAlways}},
		"round-robin": {Balance: Balance{ConnsPerAddr: 2}},
		"least":       {Balance: Balance{ConnsPerAddr: 2, Strategy: LeastInFlight}},
		"sticky":      {Balance: Balance{ConnsPerAddr: 2, Strategy: Sticky}},
		"hedged":      {Balance: Balance{ConnsPerAddr: 2, Hedge: forEver}}, // not idempotent, so only asked about
	}
	for _, name := range []string{"one", "always", "round-robin", "least", "sticky", "hedged"} {
		srv := NewServer(nil)
		srv.OnMessage("/nothing", func() {}, Inline)
		l := benchListen(b)
		go srv.Serve(l)
		cli, err := Dial(ctx, l.Addr().String(), clients[name])
		if err != nil {
			b.Fatal(err)
		}
		ctx := WithStickyKey(ctx, "user 7")
		conn := cli.Conn()
		b.Run(name+"/conn", func(b *testing.B) {
			benchRun(b, 1, func(n int) error { return repeatCall(n, func() error { return conn.Call(ctx, "/nothing", nil, nil) }) })
		})
		b.Run(name+"/client", func(b *testing.B) {
			benchRun(b, 1, func(n int) error { return repeatCall(n, func() error { return cli.Call(ctx, "/nothing", nil, nil) }) })
		})
		b.Run(name+"/choice", func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				conn, t := cli.ready(ctx)
				if t != nil {
					begun := cli.begun(ctx)
					t.Begin()
					cli.account(t, conn, begun, nil)
				}
			}
		})
		cli.Close()
		srv.Close()
	}
}

// repeatCall calls n times, or until that fails.
func repeatCall(n int, call func() error) error {
	for range n {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}
