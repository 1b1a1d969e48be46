package flyrpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// countServer returns a server that counts from a number on, ten times a second.
func countServer(t *testing.T) *flyrpc.Server {
	srv := flyrpctest.NewServer(t, nil)
	srv.OnMessage("/count", func(ctx *flyrpc.Context, from int, s *flyrpc.Stream) error {
		for i := from; i < 100; i++ {
			if err := s.Send(i); err != nil {
				return err
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return srv
}

// after is how the count goes on.
var after = flyrpc.Resume(func(last int) any { return last + 1 })

// TestResume: a Receive that knows how goes on with the next connection, and no item is lost or comes twice.
func TestResume(t *testing.T) {
	for mode, opts := range map[string]*flyrpc.ClientOpts{"on use": nil, "always": always(flyrpc.Reconnect{})} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cli := flyrpctest.NewClient(t, countServer(t), opts)
				next := 0
				for i, err := range flyrpc.Receive[int](t.Context(), cli, "/count", 0, after) {
					if err != nil || i != next {
						t.Fatalf("%d, %v; want %d", i, err, next)
					}
					if next++; i%30 == 20 {
						cli.Link.Reset()
					}
				}
				if next != 100 || cli.Link.Dials() != 4 {
					t.Errorf("%d items, %d connections", next, cli.Link.Dials())
				}
			})
		})
	}
}

// receiveAll returns how many items came, and the error.
func receiveAll(ctx context.Context, c flyrpc.Caller, each func(int), opts ...flyrpc.ReceiveOption[int]) (n int, err error) {
	for i, failed := range flyrpc.Receive[int](ctx, c, "/count", 0, opts...) {
		if err = failed; err == nil {
			n++
			each(i)
		}
	}
	return n, err
}

// TestStreamLost: a stream that doesn't know how to go on ends with its connection, and its outcome is unknown.
func TestStreamLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli := flyrpctest.NewClient(t, countServer(t), always(flyrpc.Reconnect{}))
		cut := func(i int) {
			if i == 5 {
				cli.Link.Reset()
			}
		}
		n, err := receiveAll(flyrpc.WithIdempotent(t.Context()), cli, cut)
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
		if n != 6 {
			t.Errorf("%d items", n)
		}
		s, err := cli.OpenStream(t.Context(), "/count", 0)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cli.Link.Reset()
		for err == nil {
			err = s.Recv(nil)
		}
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
		synctest.Wait()
		time.Sleep(time.Minute)
		n, err = receiveAll(t.Context(), cli.Conn(), cut, after) // a Conn isn't replaced
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
		if n != 6 {
			t.Errorf("%d items", n)
		}
	})
}

// TestReceiveBeforeFirst: a Receive without an item so far is made again if it is idempotent.
func TestReceiveBeforeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/count", func(ctx *flyrpc.Context, from int, s *flyrpc.Stream) error {
			time.Sleep(time.Second)
			return s.Send(7)
		})
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{}))
		for _, idempotent := range []bool{false, true} {
			ctx := t.Context()
			if idempotent {
				ctx = flyrpc.WithIdempotent(ctx)
			}
			time.AfterFunc(time.Second/2, cli.Link.Reset)
			n, err := receiveAll(ctx, cli, func(int) {})
			if !idempotent {
				failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
			} else if n != 1 || err != nil {
				t.Errorf("%d items, %v", n, err)
			}
		}
	})
}

// TestResumeBounds: it ends with the error of a server that goes on failing, with an answer, with ctx, and when the loop is left.
func TestResumeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []int
		askedFor := func() string { // and forgets it
			mu.Lock()
			defer mu.Unlock()
			defer func() { asked = nil }()
			return fmt.Sprint(asked)
		}
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/count", func(ctx *flyrpc.Context, from int, s *flyrpc.Stream) error {
			mu.Lock()
			asked = append(asked, from)
			mu.Unlock()
			if from == 0 {
				if err := s.Send(41); err != nil {
					return err
				}
			}
			if from == 1 {
				return flyrpc.Unavailable
			}
			time.Sleep(time.Second)
			return ctx.Conn().Close()
		})
		cli := flyrpctest.NewClient(t, srv, always(flyrpc.Reconnect{Repeats: 3}))
		n, err := receiveAll(t.Context(), cli, func(int) {}, after)
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
		if asked := askedFor(); n != 1 || asked != "[0 42 42 42]" {
			t.Errorf("%d items; asked for %v", n, asked)
		}
		_, err = receiveAll(t.Context(), cli, func(int) {}, flyrpc.Resume(func(int) any { return 1 }))
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Answered)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err = receiveAll(ctx, cli, func(int) {}, after); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for range flyrpc.Receive[int](t.Context(), cli, "/count", 0, after) {
			break
		}
		never := flyrpctest.NewClient(t, srv, &flyrpc.ClientOpts{Reconnect: flyrpc.Reconnect{Mode: flyrpc.ReconnectNever}})
		_, err = receiveAll(t.Context(), never, func(int) {}, after)
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Unknown)
		_, err = receiveAll(t.Context(), wrapped{cli}, func(int) {}, flyrpc.Resume(func(int) any { return 1 }))
		failsWith(t, err, flyrpc.Unavailable, flyrpc.Answered)
	})
}

// wrapped is a Caller of a program's own.
type wrapped struct{ flyrpc.Caller }
