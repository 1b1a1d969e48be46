package flyrpc

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// v1Dialer hands out pipes and keeps their other ends.
type v1Dialer struct {
	t     *testing.T
	peers []*v1Peer
}

func (d *v1Dialer) dial(context.Context, string) (net.Conn, error) {
	near, far := transport.Pipe(nil)
	d.peers = append(d.peers, newV1Peer(d.t, far))
	return near, nil
}

// client returns a client that dials with d.
func (d *v1Dialer) client(t *testing.T, opts *ClientOpts) *Client {
	d.t = t
	o := quietOpts(opts)
	o.DialFunc = d.dial
	cli := NewClient("", o)
	t.Cleanup(func() { cli.Close() })
	cli.OnMessage("/alive", alive)
	return cli
}

// TestV1NodeServerHandshake has a client meet the old Node server, which never answers hello.
func TestV1NodeServerHandshake(t *testing.T) {
	t.Run("silence means version 1 on another connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			cli := d.client(t, &ClientOpts{HelloTimeout: 2 * time.Second})
			begin := time.Now()
			if err := cli.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			if wait := time.Since(begin); wait != 2*time.Second {
				t.Errorf("it took %v", wait)
			}
			if len(d.peers) != 2 {
				t.Fatalf("%d connections were dialled", len(d.peers))
			}
			if _, err := d.peers[0].readHello(); err != nil {
				t.Error(err)
			}
			d.peers[0].wantEnd()
			call := cli.Go(t.Context(), "/first", 1, nil)
			d.peers[1].answer(d.peers[1].wantRequest("/first", "1"), "", "null") // no hello comes before it
			if err := call.Err(); err != nil {
				t.Error(err)
			}
			if v := cli.Conn().PeerInfo().Version; v != 1 {
				t.Errorf("the version is %d", v)
			}
			d.peers[1].wantLife()
		})
	})
	t.Run("the default wait is 3 s", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			begin := time.Now()
			if err := d.client(t, nil).Connect(t.Context()); err != nil || time.Since(begin) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("half an answer is silence too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			cli := d.client(t, nil)
			done := make(chan error, 1)
			go func() { done <- cli.Connect(t.Context()) }()
			synctest.Wait()
			d.peers[0].write(v1Bytes(v1Response, 0xFFFF, "", "{}")[:5])
			if err := within(t, done); err != nil || len(d.peers) != 2 {
				t.Errorf("%v after %d connections", err, len(d.peers))
			}
		})
	})
	t.Run("RequireHello forbids it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			err := d.client(t, &ClientOpts{RequireHello: true}).Connect(t.Context())
			wantErr(t, err, Unavailable, NotSent)
			wantText(t, err.Error(), "3s", "RequireHello")
			if len(d.peers) != 1 {
				t.Errorf("%d connections were dialled", len(d.peers))
			}
		})
	})
	t.Run("NoHello spares the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			cli := d.client(t, &ClientOpts{NoHello: true})
			begin := time.Now()
			if err := cli.SendMessage(t.Context(), "/note", 1); err != nil || time.Since(begin) != 0 {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			d.peers[0].wantMessage("/note", "1")
		})
	})
	t.Run("NoHello and RequireHello exclude each other", func(t *testing.T) {
		var d v1Dialer
		err := d.client(t, &ClientOpts{NoHello: true, RequireHello: true}).Connect(t.Context())
		wantErr(t, err, BadRequest, NotSent)
		wantText(t, err.Error(), "NoHello", "RequireHello")
		if len(d.peers) != 0 {
			t.Error("a connection was dialled")
		}
	})
	t.Run("a given connection can't be dialled again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cli, w := clientWire(t, nil)
			err := cli.Connect(t.Context())
			wantErr(t, err, Unavailable, NotSent)
			wantText(t, err.Error(), "3s", "NoHello")
			p := newV1Peer(t, w.conn)
			if _, err := p.readHello(); err != nil {
				t.Error(err)
			}
			p.wantEnd()
		})
	})
	for name, opts := range map[string]ClientOpts{"silence": {}, "NoHello": {NoHello: true}} {
		t.Run("CheckPeer sees version 1 after "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d v1Dialer
				opts.CheckPeer = func(p PeerInfo) error {
					if p.Version < 2 {
						return errors.New("too old")
					}
					return nil
				}
				err := d.client(t, &opts).Connect(t.Context())
				if err == nil {
					t.Fatal("CheckPeer was not asked")
				}
				wantText(t, err.Error(), "CheckPeer", "too old")
			})
		})
	}
	t.Run("the caller's context bounds the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d v1Dialer
			cli := d.client(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			wantErr(t, cli.Connect(ctx), Timeout, NotSent)
		})
	})
}

// TestV1NodeServer has a client call the old Node server.
func TestV1NodeServer(t *testing.T) {
	t.Run("what it doesn't answer ends with the context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cli, p := v1ClientPipe(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			wantErr(t, cli.Call(ctx, "/unknown", 1, nil), Timeout, Unknown)
			p.wantRequest("/unknown", "1")
			p.wantLife()
		})
	})
	t.Run("its messages have sequence 0", func(t *testing.T) {
		notes := make(chan string, 2)
		cli, p := v1ClientPipe(t, nil)
		cli.OnMessage("/note", func(s string) { notes <- s })
		p.message("/note", "a")
		p.message("/unknown", "b") // dropped
		p.wantLife()
		if got := within(t, notes); got != "a" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("its requests count from 1 to 65534", func(t *testing.T) {
		_, p := v1ClientPipe(t, nil)
		for _, seq := range []uint16{65533, 65534, 1, 2} {
			p.request(seq, "/alive", "3")
			p.wantAnswer(seq, "3")
		}
	})
}
