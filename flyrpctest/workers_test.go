package flyrpctest

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// TestWorkersOfHandlers: workers of the server that a handler has caused are not the handler's.
func TestWorkersOfHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTB{TB: t}
		var ended time.Time
		wantText(t, f.run(func(t testing.TB) {
			srv := NewServer(t, nil)
			srv.OnMessage("/back", func(ctx *flyrpc.Context) error {
				text := strings.Repeat("x", 200<<10)
				p, q := ctx.Conn().Go(ctx, "/slow", text, nil), ctx.Conn().Go(ctx, "/slow", text, nil)
				return errors.Join(p.Err(), q.Err())
			})
			cli := NewClient(t, srv, nil)
			cli.OnMessage("/slow", func(string) { time.Sleep(time.Millisecond) })
			if err := cli.Call(f.TB.Context(), "/back", nil, nil); err != nil {
				t.Fatal(err)
			}
			ended = time.Now()
		}))
		if took := time.Since(ended); took > time.Second {
			t.Errorf("the Host waited for %v, though no handler had left anything", took)
		}
	})
}

// TestWorkersOfAnotherHost: a worker that a handler has caused may read the connection of another Host of the same server, which goes on.
func TestWorkersOfAnotherHost(t *testing.T) {
	srv := NewServer(t, nil)
	srv.OnMessage("/back", func(ctx *flyrpc.Context) error {
		var calls []*flyrpc.Pending
		for range 20 {
			calls = append(calls, ctx.Conn().Go(ctx, "/slow", nil, nil))
		}
		for _, p := range calls {
			if err := p.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	f := &fakeTB{TB: t}
	wantText(t, f.run(func(ft testing.TB) {
		cli := NewClient(ft, srv, nil)
		cli.OnMessage("/slow", func() { time.Sleep(time.Millisecond) })
		if err := cli.Call(t.Context(), "/back", nil, nil); err != nil {
			t.Error(err)
		}
		for range 5 {
			NewClient(t, srv, nil) // which outlives the other Host
		}
	}))
}
