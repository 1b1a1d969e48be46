package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestCloseWhileConnecting: whenever Close comes, no connection is left, and nothing waits.
func TestCloseWhileConnecting(t *testing.T) {
	greets := func(ctx context.Context, conn *Conn) error { return conn.Call(ctx, "/nothing", nil, nil) }
	for name, opts := range map[string]ClientOpts{
		"on use":  {Reconnect: Reconnect{OnReconnect: greets}},
		"always":  {Reconnect: Reconnect{Mode: ReconnectAlways, OnReconnect: greets}},
		"several": {Balance: Balance{ConnsPerAddr: 4}},
		"moving":  {Resolver: resolverFunc(moves)},
	} {
		t.Run(name, func(t *testing.T) {
			srv := quietServer(t, nil)
			srv.OnMessage("/nothing", func() {})
			var dialled, ended atomic.Int32
			opts.DialFunc = func(context.Context, string) (net.Conn, error) {
				near, far := transport.Pipe(nil)
				dialled.Add(1)
				go func() {
					srv.ServeConn(far)
					ended.Add(1)
				}()
				return near, nil
			}
			for i := range 200 {
				closeSoon(t, NewClient("mem://a", quietOpts(&opts)), time.Duration(i)*2*time.Microsecond)
			}
			for end := time.Now().Add(10 * time.Second); ended.Load() != dialled.Load(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections of %d are left", dialled.Load()-ended.Load(), dialled.Load())
				}
			}
		})
	}
}

// moves is the Resolver of a service whose addresses change all the time.
func moves(ctx context.Context, update func([]string)) error {
	for i := 0; ctx.Err() == nil; i++ {
		update([]string{fmt.Sprint("mem://", i%3), fmt.Sprint("mem://", (i+1)%3)})
		time.Sleep(50 * time.Microsecond)
	}
	return ctx.Err()
}

// closeSoon closes a client that is being used, and waits for its users.
func closeSoon(t *testing.T, cli *Client, after time.Duration) {
	t.Helper()
	var entered, all sync.WaitGroup
	for range 4 {
		entered.Add(1)
		all.Go(func() {
			entered.Done()
			for cli.State() != Closed {
				_ = cli.Call(context.Background(), "/nothing", nil, nil)
			}
		})
	}
	entered.Wait()
	time.Sleep(after)
	cli.Close()
	begun := time.Now()
	all.Wait()
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("a call has ended %v after Close", d)
	}
	wantErr(t, cli.Call(context.Background(), "/nothing", nil, nil), Unavailable, NotSent)
}

// TestJoinAfterFailure: who comes to wait just when the client is closed, or has given up, is told, and doesn't wait for QueueAge.
func TestJoinAfterFailure(t *testing.T) {
	for name, fail := range map[string]func(*Client){
		"closed": func(c *Client) { c.Close() },
		"given up": func(c *Client) {
			_ = c.Connect(context.Background())
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cli := NewClient("mem://a", quietOpts(&ClientOpts{
					Reconnect: Reconnect{Mode: ReconnectAlways, Attempts: 1},
					DialFunc:  func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") },
				}))
				defer cli.Close()
				begun := time.Now()
				// The message is encoded to find its size just before it waits.
				err := cli.Call(t.Context(), "/x", sizedLate{func() { fail(cli) }}, nil)
				wantErr(t, err, Unavailable, NotSent)
				if d := time.Since(begun); d != 0 {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

// sizedLate is a message that does something when it is encoded.
type sizedLate struct{ f func() }

func (s sizedLate) MarshalMsgpack() ([]byte, error) {
	s.f()
	return []byte{0xc0}, nil
}
