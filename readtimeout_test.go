package flyrpc

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// dribble writes b in parts of n bytes, a pause before each, and returns how much was taken.
func dribble(p *rawPeer, b []byte, n int, pause time.Duration) (sent int) {
	for sent < len(b) {
		time.Sleep(pause)
		m, err := p.conn.Write(b[sent:min(sent+n, len(b))])
		sent += m
		if err != nil {
			break
		}
	}
	return sent
}

// packetBytes returns packets as they are on the wire.
func packetBytes(t testing.TB, ps ...Packet) (b []byte) {
	t.Helper()
	for i := range ps {
		var err error
		if b, err = AppendPacket(b, &ps[i]); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// TestReadTimeout: a packet that comes within it is served, however many do, and one that doesn't is cut though bytes come.
func TestReadTimeout(t *testing.T) {
	const limit = 20 * time.Second
	for name, text := range map[string]string{"small": "0123456789", "larger than a buffer": strings.Repeat("1", 40<<10)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, log := newLogServer(t, &ServerOpts{ReadTimeout: limit, KeepaliveTime: -1})
				srv.OnMessage("/len", func(b []byte) int { return len(b) })
				peer := rawClient(t, srv, textHello)
				q := rawRequest(1, "/len", text)
				q.Meta = AppendMeta(nil, MetaSerializer, "", rawBytes)
				b := packetBytes(t, q)
				part := (len(b) + 18) / 19 // so that it takes 19 s from the first one on
				for range 5 {
					time.Sleep(time.Hour) // nothing has begun
					if n := dribble(peer, b, part, time.Second); n != len(b) {
						t.Fatalf("cut after %d of %d bytes", n, len(b))
					}
					if a := peer.recv(); a.Code != "" {
						t.Fatalf("%+v", a)
					}
				}
				begin := time.Now()
				if n := dribble(peer, packetBytes(t, rawRequest(1, "/len", strings.Repeat("x", 200))), 1, time.Second); n > 30 {
					t.Errorf("%d bytes were taken", n)
				}
				if d := time.Since(begin); d < limit || d > limit+limit/4+3*time.Second {
					t.Errorf("cut after %v", d)
				}
				synctest.Wait()
				log.want(t, "ReadTimeout (20s for each 16 KiB)")
			})
		})
	}
}

// TestReadTimeoutOfClient: it holds for what a server sends, too.
func TestReadTimeoutOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, _ := rawServer(t, &ClientOpts{ReadTimeout: 4 * time.Second}, jsonAnswer(4))
		call := cli.Go(t.Context(), "/x", nil, nil)
		q := peer.recv()
		begin := time.Now()
		dribble(peer, packetBytes(t, rawAnswer(q.Sequence, `"a long answer"`)), 1, 2*time.Second)
		wantFailed(t, call.Err(), Unavailable, Unknown)
		if d := time.Since(begin); d < 4*time.Second || d > 8*time.Second {
			t.Errorf("cut after %v", d)
		}
	})
}

// TestReadTimeoutOfLarge: a slow link may send a large version 1 packet as long as each 16 KiB come in time, and also what
// is too long and skipped.
func TestReadTimeoutOfLarge(t *testing.T) {
	const limit = 20 * time.Second
	for _, c := range []struct {
		name  string
		size  int
		pause time.Duration // for each KiB
		ok    bool
	}{
		{"slow", 1 << 20, limit / 17, true},
		{"too slow", 1 << 20, limit / 10, false},
		{"too long, slow", 3 << 20, limit / 17, true},
		{"too long, too slow", 3 << 20, limit / 10, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := newLogServer(t, &ServerOpts{ReadTimeout: limit, MaxMessage: 2 << 20, MaxFrame: 2 << 20})
				srv.OnMessage("/len", func(b []byte) int { return len(b) })
				peer := &rawPeer{t: t, conn: servePipe(srv)}
				defer peer.conn.Close()
				b := packetBytes(t, rawRequest(1, "/len", "x"), rawRequest(2, "/len", strings.Repeat("x", c.size)))
				if n := dribble(peer, b, 1<<10, c.pause); n == len(b) != c.ok {
					t.Fatalf("%d of %d bytes were taken", n, len(b))
				}
				if !c.ok {
					peer.wantClosed()
					return
				}
				for range 2 { // a refusal overtakes
					if a := peer.recv(); (a.Code == "") != (a.Sequence == 1 || c.size < 2<<20) {
						t.Errorf("%+v", a)
					}
				}
			})
		})
	}
}

// TestReadTimeoutWaitsForReader: while this side itself doesn't read, the other one's time doesn't run.
func TestReadTimeoutWaitsForReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{ReadTimeout: time.Second, MaxCalls: 1})
		gate := make(chan struct{})
		srv.OnMessage("/wait", func() { <-gate })
		peer := &rawPeer{t: t, conn: servePipe(srv)} // version 1, whose reader waits for room
		defer peer.conn.Close()
		b := packetBytes(t, rawRequest(1, "/wait", "null"), rawRequest(2, "/wait", "null"), rawRequest(3, "/wait", "null"))
		if _, err := peer.conn.Write(b[:len(b)-3]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		close(gate)
		synctest.Wait()
		time.Sleep(time.Second - 1)
		if _, err := peer.conn.Write(b[len(b)-3:]); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if a := peer.recv(); a.Code != "" {
				t.Errorf("%+v", a)
			}
		}
	})
}

// TestInterruptedReadIsNoLife: only bytes say that the other end is alive, not a read that ends without any, as that of a
// lone caller does whose context ends.
func TestInterruptedReadIsNoLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transport.Pipe(nil)
		defer near.Close()
		defer far.Close()
		r := reader{conn: near, bufs: new(buffers), max: 100, born: time.Now()}
		r.init()
		time.Sleep(time.Second)
		_ = near.SetReadDeadline(time.Unix(1, 0))
		if _, err := r.next(); !errors.Is(err, os.ErrDeadlineExceeded) || r.last.Load() != 0 {
			t.Errorf("%v, heard at %v", err, time.Duration(r.last.Load()))
		}
		_ = near.SetReadDeadline(time.Time{})
		if _, err := far.Write([]byte{0x80, 0, 1, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.next(); err != nil || r.last.Load() != int64(time.Second) {
			t.Errorf("%v, heard at %v", err, time.Duration(r.last.Load()))
		}
	})
}
