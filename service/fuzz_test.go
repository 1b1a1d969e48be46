package service_test

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// FuzzFrames has messages replayed that are well-formed and not what was sent, while calls of all shapes are under way. Each three bytes of the
// input change one byte of one message, or of a bundle of several. Whatever comes of those calls, others that are made later go on.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	for at := range 60 {
		f.Add([]byte{byte(at), 6, 1, byte(at), 6, 7, byte(at), 27, 0x60, byte(at), 30, 0xff})
		f.Add([]byte{byte(at), 22, 1, byte(at), 26, 9, byte(at), 40, 0, byte(at), 31, 'w'})
		f.Add([]byte{byte(at), 6, byte(at), byte(at), 27, byte(at * 4), byte(at), 30, '+', byte(at), 33, 1})
		f.Add([]byte{byte(at) | 0x80, byte(at), 0x80, byte(at) | 0x80, 6, 0x80, byte(at) | 0x80, 30, 2, byte(at) | 0x80, 40, 5})
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 300)]
		bubble(t, func(n *net) { fuzzFrames(n, ops) })
	})
}

func fuzzFrames(t *net, ops []byte) {
	quiet := &service.Opts{Logger: slog.New(slog.DiscardHandler), MaxMessage: 64 << 10, RequestTimeout: time.Second}
	s := t.service("s", quiet)
	t.to(s.QueueBind("echo"), func(v []byte) []byte { return v })
	t.to(s.QueueBind("both"), func(st *flyrpc.Stream) error {
		for {
			var b []byte
			if err := st.Recv(&b); err == io.EOF {
				return nil
			} else if err != nil && !errors.Is(err, flyrpc.BadRequest) {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
	})
	t.to(s.Bind("all"), func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	var mu sync.Mutex
	var seen []*service.Message
	tap := t.bus.Join()
	_, err := tap.Subscribe(service.Subscribe{Subject: ">", Handler: func(m *service.Message) {
		mu.Lock()
		defer mu.Unlock()
		if len(m.Data) >= service.HeaderLen && len(seen) < 256 {
			seen = append(seen, m)
		}
	}})
	t.check(err)
	c := t.service("caller", quiet).Service("s")
	st, err := c.OpenStream(t.Context(), "both", nil)
	t.check(err)
	t.check(st.Send([]byte("an item")))
	t.check(st.Recv(nil))
	t.check(st.Send(make([]byte, 40<<10)))
	t.check(c.Request(t.Context(), "echo", make([]byte, 40<<10)).Into(nil))
	t.check(c.Send(t.Context(), "all", pattern(40<<10)))
	synctest.Wait()
	tap.Close()
	for ; len(ops) >= 3; ops = ops[3:] {
		m := *seen[int(ops[0]&0x7f)%len(seen)]
		m.Data = append([]byte(nil), m.Data...)
		if ops[0]&0x80 != 0 {
			m.Data = bundleOf(m.Data, seen[int(ops[1])%len(seen)].Data, m.Data)
		}
		m.Data[int(ops[1])%len(m.Data)] ^= ops[2]
		if ops[2]&1 == 1 {
			m.Data = m.Data[:max(service.HeaderLen, len(m.Data)-int(ops[2]))]
		}
		t.check(t.bus.Publish(&service.Message{Subject: m.Subject, Reply: m.Reply, Data: service.Seal(m.Data)}))
	}
	synctest.Wait()
	st.Close()
	time.Sleep(time.Minute)
	var got []byte
	t.check(c.Request(t.Context(), "echo", make([]byte, 50<<10)).Into(&got))
	if len(got) != 50<<10 {
		t.Errorf("%d bytes", len(got))
	}
	st, err = c.OpenStream(t.Context(), "both", nil)
	t.check(err)
	t.check(st.Send([]byte("an item")))
	t.check(st.Recv(nil))
	t.check(st.Close())
	t.check(c.Send(t.Context(), "all", pattern(40<<10)))
}
