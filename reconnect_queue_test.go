package flyrpc_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// TestReconnectWaits: calls, messages, streams and pings wait while there is no connection, and go in the order in which they came.
func TestReconnectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, notes := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		cli.Host.Stop()
		synctest.Wait()
		var want []string
		var all sync.WaitGroup
		for i := range 40 {
			note := fmt.Sprint(i)
			want = append(want, note)
			all.Go(func() {
				err := error(nil)
				switch i % 4 {
				case 0:
					err = cli.SendMessage(t.Context(), "/note", note)
				case 1:
					err = cli.Call(t.Context(), "/note", note, nil)
				case 2:
					err = cli.Go(t.Context(), "/note", note, nil).Err()
				default:
					var s *flyrpc.Stream
					if s, err = cli.OpenStream(t.Context(), "/note", note); err == nil {
						err = s.Recv(nil)
					}
					if err == io.EOF {
						err = nil
					}
				}
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		all.Go(func() {
			if _, err := cli.Ping(8, 0); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(5 * time.Second)
		if s := cli.State(); s != flyrpc.Waiting && s != flyrpc.Connecting || len(notes()) != 0 {
			t.Error(s, notes())
		}
		cli.Host.Start(nil)
		all.Wait()
		synctest.Wait()
		if got := notes(); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// TestReconnectQueueBounds: what waits is bounded by bytes, age, context and Close, and who waits is told.
func TestReconnectQueueBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{QueueBytes: 1000, QueueAge: time.Minute}))
		cli.Host.Stop()
		synctest.Wait()
		begin := time.Now()
		ends := make(chan error, 2)
		send := func(ctx context.Context, n int) { ends <- cli.SendMessage(ctx, "/note", make([]byte, n)) }
		go send(t.Context(), 1000-2*len("/note")-100)
		synctest.Wait()
		go send(t.Context(), 100) // just fits
		synctest.Wait()
		err := cli.Call(t.Context(), "", struct{}{}, nil)
		failsWith(t, err, flyrpc.Busy, flyrpc.NotSent)
		if !strings.Contains(err.Error(), "1000") {
			t.Error(err)
		}
		for range 2 {
			err := <-ends
			failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
			if !strings.Contains(err.Error(), "QueueAge") || !strings.Contains(err.Error(), "refused") {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("they waited for %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		failsWith(t, cli.Call(ctx, "/echo", "x", nil), flyrpc.Timeout, flyrpc.NotSent)
		failsWith(t, cli.Call(ctx, "/echo", "x", nil), flyrpc.Timeout, flyrpc.NotSent)
		go send(t.Context(), 5000) // larger than all, and alone
		go func() { _, err := cli.OpenStream(t.Context(), "/echo", nil); ends <- err }()
		synctest.Wait()
		failsWith(t, <-ends, flyrpc.Busy, flyrpc.NotSent)
		cli.Close()
		failsWith(t, <-ends, flyrpc.Unavailable, flyrpc.NotSent)
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Unavailable, flyrpc.NotSent)
		failsWith(t, cli.Connect(t.Context()), flyrpc.Unavailable, flyrpc.NotSent)
	})
}

// TestReconnectFailFast: what isn't sent fails at once while there is no connection.
func TestReconnectFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{FailFast: true}))
		cli.Host.Stop()
		synctest.Wait()
		time.Sleep(time.Second)
		begin := time.Now()
		err := cli.Call(t.Context(), "/echo", "x", nil)
		failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		if !strings.Contains(err.Error(), "refused") || time.Since(begin) != 0 {
			t.Errorf("%v, after %v", err, time.Since(begin))
		}
		cli.Host.Start(nil)
		time.Sleep(flyrpc.DefaultReconnectMaxPause)
		if err := cli.Call(t.Context(), "/echo", "x", nil); err != nil {
			t.Error(err)
		}
	})
}

// TestReconnectOrder: what waits keeps its order even if connections are lost while it is sent.
func TestReconnectOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, notes := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		cli.Host.Stop()
		synctest.Wait()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				if err := cli.Call(flyrpc.WithIdempotent(t.Context()), "/note", fmt.Sprintf("%03d", i), nil); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		cli.Link.Up.CloseAfter(1500)
		cli.Host.Start(nil)
		all.Wait()
		got := notes()
		first := got[:slices.Index(got, "199")+1] // those made again come later
		if !slices.IsSorted(first) || len(got) < 200 || cli.Link.Dials() < 3 {
			t.Errorf("%d connections, %q", cli.Link.Dials(), got)
		}
	})
}

// TestReconnectMessageLost: a message that was accepted just before the connection was lost may be lost with it: nobody can know.
func TestReconnectMessageLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, notes := workServer(t)
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		cli.Link.Up.SetPartition(true)
		if err := cli.SendMessage(t.Context(), "/note", "x"); err != nil {
			t.Error(err)
		}
		cli.Link.Reset()
		cli.Link.Heal()
		time.Sleep(time.Minute)
		if got := notes(); len(got) != 0 {
			t.Error("it was sent again:", got)
		}
	})
}

// TestReconnectCutShort: what Shutdown cuts short at its deadline is answered, and isn't made again.
func TestReconnectCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, works, _ := workServer(t)
		cli := flyrpctest.NewClient(t, srv, nil)
		call := cli.Go(flyrpc.WithIdempotent(t.Context()), "/work", nil, nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		go srv.Shutdown(ctx)
		failsWith(t, call.Err(), flyrpc.Unavailable, flyrpc.Answered)
		if n := works.Load(); n != 1 {
			t.Errorf("%d were executed", n)
		}
	})
}
