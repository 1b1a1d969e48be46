package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// TestOnReconnect: it sees each connection before any other call goes by it; its errors and panics are failed attempts.
func TestOnReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, notes := workServer(t)
		var n atomic.Int32
		hook := func(ctx context.Context, conn *flyrpc.Conn) error {
			switch n.Add(1) {
			case 2:
				return flyrpc.Unavailable
			case 3:
				panic("a bug")
			case 4:
				<-ctx.Done() // it takes too long
				return nil
			}
			time.Sleep(time.Second)
			return conn.Call(ctx, "/note", "hello", nil)
		}
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{OnReconnect: hook}))
		cli.Link.Reset()
		time.Sleep(time.Second) // a panic isn't waited for to pass
		for i := range 3 {
			go cli.SendMessage(t.Context(), "/note", fmt.Sprint(i))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if got := notes(); fmt.Sprint(got) != "[hello hello 0 1 2]" || n.Load() != 5 {
			t.Errorf("%q, called %d times", got, n.Load())
		}
		if n := len(srv.Conns()); n != 1 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// TestOnReconnectClosed: Close ends it, and its connection.
func TestOnReconnectClosed(t *testing.T) {
	for _, opts := range []*flyrpc.ClientOpts{{}, always(flyrpc.Reconnect{})} {
		synctest.Test(t, func(t *testing.T) {
			srv, _, _ := workServer(t)
			h := flyrpctest.Serve(t, srv)
			opts := *opts
			opts.Transports, opts.Logger = append(opts.Transports, h.NewLink()), flyrpctest.NewLogger(t)
			opts.Reconnect.OnReconnect = func(ctx context.Context, conn *flyrpc.Conn) error {
				return conn.Call(context.WithoutCancel(ctx), "/work", nil, nil)
			}
			cli := flyrpc.NewClient(h.Addr(), &opts)
			done := make(chan error, 1)
			go func() { done <- cli.Connect(t.Context()) }()
			synctest.Wait()
			cli.Close()
			failsWith(t, <-done, flyrpc.Unavailable, flyrpc.NotSent)
			synctest.Wait()
			if n := len(srv.Conns()); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// TestOnStateChange: every state is told in order, with its reason.
func TestOnStateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		var told []string
		opts := always(flyrpc.Reconnect{MaxPause: time.Second})
		opts.Reconnect.OnStateChange = func(s flyrpc.State, err error) {
			told = append(told, fmt.Sprintf("%v %v", s, err != nil))
			if len(told) == 2 {
				panic("a bug")
			}
		}
		cli := flyrpctest.NewClient(t, srv, opts)
		time.Sleep(time.Minute)
		no := errors.New("no route")
		cli.Link.RefuseDials(no)
		cli.Link.Reset()
		synctest.Wait()
		cli.Link.RefuseDials(nil)
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
			t.Fatal(err)
		}
		cli.Close()
		synctest.Wait()
		want := "[Connecting false Connected false Connecting true Waiting true Connecting true Connected false Closed false]"
		if fmt.Sprint(told) != want {
			t.Errorf("told %v", told)
		}
		if s := flyrpc.State(9); s.String() != "State(9)" {
			t.Error(s)
		}
	})
}

// TestOnStateChangeBehind: a callback that never returns holds up nothing and costs a bounded number of changes.
func TestOnStateChangeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		free := make(chan struct{})
		var told []flyrpc.State
		opts := always(flyrpc.Reconnect{})
		opts.Reconnect.OnStateChange = func(s flyrpc.State, err error) {
			<-free
			told = append(told, s)
		}
		cli := flyrpctest.NewClient(t, srv, opts)
		for range 100 {
			cli.Link.Reset()
			if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
				t.Fatal(err)
			}
		}
		cli.Close()
		synctest.Wait()
		close(free)
		synctest.Wait()
		if len(told) != 65 || told[0] != flyrpc.Connecting || told[64] != flyrpc.Closed {
			t.Errorf("%d states: %v", len(told), told)
		}
	})
}
