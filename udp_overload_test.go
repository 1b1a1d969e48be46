package flyrpc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// longPackets are packets that are longer than the reader and the writer take in one piece.
type longPackets struct{ *packetEnd }

func (longPackets) MaxPacket() int { return 1 << 16 }

// What a transport's packets take beyond that isn't used.
func TestDatagramLongPackets(t *testing.T) {
	end, _ := packetPipe()
	c := newDatagramConn(longPackets{end}, &limits{maxCalls: 1, keepaliveInterval: time.Second})
	defer c.Close()
	if c.max != largeBody {
		t.Errorf("packets of %d bytes are sent", c.max)
	}
}

// One-way messages that are handled slowly are dropped where there are too many, and hold up nothing else.
func TestDatagramSlowMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxCalls: 4})
		var ran atomic.Int32
		srv.OnMessage("/slow", func() { ran.Add(1); time.Sleep(time.Minute) })
		srv.OnMessage("/fast", func() {})
		cli, _ := packetPair(t, srv, nil)
		for range 100 {
			if err := cli.SendMessage(t.Context(), "/slow", nil); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := cli.Call(t.Context(), "/fast", nil, nil); err != nil || time.Since(begin) > time.Second {
			t.Errorf("a call took %v: %v", time.Since(begin), err)
		}
		time.Sleep(10 * time.Minute)
		if n := ran.Load(); n < 4 || n > 20 {
			t.Errorf("%d messages were handled", n)
		}
	})
}

// A message doesn't wait for calls to end, as these may wait for it.
func TestDatagramMessageBesideCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxCalls: 3})
		told := make(chan struct{})
		srv.OnMessage("/wait", func(ctx *Context) error {
			select {
			case <-told:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		srv.OnMessage("/tell", func() { close(told) })
		cli, _ := packetPair(t, srv, nil)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range 5 {
			calls.Go(func() {
				if err := cli.Call(ctx, "/wait", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := cli.SendMessage(ctx, "/tell", nil); err != nil {
			t.Error(err)
		}
		calls.Wait()
	})
}
