package flyrpc

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFrameLimit: a packet of MaxFrame bytes is served, though larger messages are accepted, and one byte more is refused.
func TestFrameLimit(t *testing.T) {
	const frame = 40_000
	srv, _ := newLogServer(t, &ServerOpts{MaxFrame: frame})
	srv.OnMessage("/len", func(b []byte) int { return len(b) })
	peer := rawClient(t, srv, textHello)
	raw := AppendMeta(nil, MetaSerializer, "", rawBytes)
	for i, n := range []int{frame, frame + 1, frame} {
		q := Packet{Flag: FlagWait, Sequence: uint16(i + 1), Code: "/len", Meta: raw, Payload: make([]byte, n-1-len(raw))}
		peer.send(q)
		a := peer.recv()
		if n <= frame && string(a.Payload) != fmt.Sprint(len(q.Payload)) || n > frame && (a.Code != string(TooLong) || !metaHas(a, MetaNotProcessed)) {
			t.Errorf("%d bytes: %+v %s", n, a, a.Payload)
		}
	}
}

// TestHelloInTime: a first packet that is complete just within HelloTimeout is taken, and then it holds no more.
func TestHelloInTime(t *testing.T) {
	for _, auth := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := &ServerOpts{HelloTimeout: 2 * time.Second}
			if auth {
				opts.Auth = checkToken
			}
			w := wireTo(t, quietServer(t, opts))
			b := packetBytes(t, Packet{
				Flag: FlagWait, Sequence: 1, Code: "fly.hello",
				Payload: []byte(`{"flyrpc":2,"serializers":["json"],"auth":{"token":"s3cret"}}`),
			})
			w.write(b[:1])
			time.Sleep(2*time.Second - 1)
			w.write(b[1:])
			w.wantAnswer(1, "", "flyrpc")
			w.write([]byte{0x40})
			time.Sleep(10 * time.Second)
			w.write([]byte("\x00\x02fly.ping\x00\x00"))
			w.wantAnswer(2, "", "")
		})
	}
}

// TestHandlerWait: a handler's call waits for room for HandlerWait, and not a moment longer.
func TestHandlerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 3 * time.Second
		p := newPair(t, &ServerOpts{HandlerWait: wait}, &ClientOpts{MaxCalls: 1}, func(srv *Server, cli *Client) {
			srv.OnMessage("/call", func(ctx *Context) (time.Duration, error) {
				begin := time.Now()
				err := ctx.Call("/sleep", 0, nil)
				return time.Since(begin), err
			})
			cli.OnMessage("/sleep", func(d time.Duration) { time.Sleep(d) })
		})
		for busy, ok := range map[time.Duration]bool{wait - 1: true, wait + 1: false} {
			begin := time.Now()
			other := p.sc.Go(t.Context(), "/sleep", busy, nil)
			synctest.Wait()
			err := p.cc.Call(t.Context(), "/call", nil, nil)
			d := time.Since(begin)
			if ok && (err != nil || d != busy) {
				t.Errorf("busy for %v: %v after %v", busy, err, d)
			}
			if !ok {
				wantFailed(t, err, Busy, Answered)
				if d != wait {
					t.Errorf("busy for %v: %v after %v", busy, err, d)
				}
			}
			if err := other.Err(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLearnedLimits: 126 paths are learned, and 16 KiB of them, and no more.
func TestLearnedLimits(t *testing.T) {
	var l learned
	teach := func(id int, path string) error {
		_, err := l.resolve([]byte("\x01" + string([]byte{byte(id)}) + path))
		return err
	}
	long := strings.Repeat("p", maxLearnedBytes/128)
	for id := firstLearned; id < firstLearned+maxLearned; id++ {
		if err := teach(id, long); err != nil {
			t.Fatalf("path %d: %v", id, err)
		}
	}
	if err := teach(firstLearned, strings.Repeat("p", 3*maxLearnedBytes/128)); err != nil || l.bytes != maxLearnedBytes {
		t.Errorf("%d bytes, %v", l.bytes, err)
	}
	if err := teach(firstLearned+1, long+"p"); err == nil {
		t.Error("a byte more is learned")
	}
	if err := teach(firstLearned+maxLearned, "/x"); err == nil {
		t.Error("a path more is learned")
	}

	w := taught{limit: maxLearned}
	codes := map[string]bool{}
	for i := range 2 * maxLearned {
		path := fmt.Sprint("/path/", i)
		w.code(path)
		w.code(path)
		if code := w.code(path); code != path {
			codes[code] = true
		}
	}
	if len(codes) != maxLearned {
		t.Errorf("%d paths are taught", len(codes))
	}
}

// TestInfoLimit: the largest ServerOpts.Info fits the answer to hello.
func TestInfoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Info: strings.Repeat("x", maxInfo-2)})
		cli := connectPipe(t, srv, nil)
		if n := len(cli.Conn().PeerInfo().Info); n != maxInfo {
			t.Errorf("%d bytes of info", n)
		}
	})
}
