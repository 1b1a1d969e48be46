package service_test

import (
	"bytes"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// Whoever gets a message knows the instance that has sent it, whatever its kind and however it came.
func TestSource(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", nil)
		got := make(chan service.Source, 1)
		note := func(ctx *flyrpc.Context) {
			if meta := ctx.Meta(); len(meta) != 1 || meta.Get("k") != "v" {
				t.Errorf("metadata of the program's own: %v", meta)
			}
			got <- service.SourceOf(ctx)
		}
		t.to(s.QueueBind("message"), func(ctx *flyrpc.Context, _ []byte) { note(ctx) })
		t.to(s.Bind("all.>"), func(ctx *flyrpc.Context, _ []byte) { note(ctx) })
		t.to(s.QueueBind("read"), func(ctx *flyrpc.Context, r io.Reader) error {
			note(ctx)
			_, err := io.Copy(io.Discard, r)
			return err
		})
		t.to(s.QueueBind("job", service.Durable(nil)), func(ctx *flyrpc.Context, _ []byte) { note(ctx) })
		next := s.QueueBind("next")
		go func() {
			for m := range next.All(t.Context()) {
				note(m.Context())
				if m.Source() != service.SourceOf(m.Context()) {
					t.Errorf("Next says %v", m.Source())
				}
				if m.Waits() {
					t.check(m.Reply(nil))
				}
			}
		}()
		synctest.Wait()
		for name, opts := range map[string]*service.Opts{"plain": nil, "zipped": {Zip: flyrpc.Zip{Body: flyrpc.ZipZstd}}} {
			from := t.service("caller-"+name, opts)
			want, c := service.Source{Service: "caller-" + name, Instance: from.ID()}, from.Service("s")
			ctx := flyrpc.WithMeta(t.Context(), "k", "v")
			large := bytes.Repeat([]byte("large "), 1<<19)
			for what, send := range map[string]func() error{
				"request":       func() error { return c.Request(ctx, "message", []byte("small")).Into(nil) },
				"large request": func() error { return c.Request(ctx, "message", large).Into(nil) },
				"message":       func() error { return c.Send(ctx, "all.x", []byte("small")) },
				"large message": func() error { return c.Send(ctx, "all.x", large) },
				"reader":        func() error { return c.Send(ctx, "read", strings.NewReader("text")) },
				"durable":       func() error { return c.SendDurable(ctx, "job", "", []byte("small")) },
				"next":          func() error { return c.Request(ctx, "next", []byte("small")).Into(nil) },
				"next, message": func() error { return c.Send(ctx, "next", []byte("small")) },
			} {
				t.check(send())
				if source := <-got; source != want {
					t.Errorf("%s, %s: from %v, not %v", name, what, source, want)
				}
			}
		}
	})
}

// Nobody is taken for another because of what stands in the packet, and what says nothing of its sender has none.
func TestSourceIsNoMetadata(t *testing.T) {
	bubble(t, func(t *net) {
		got := make(chan service.Source, 2)
		s := t.service("s", nil)
		t.to(s.QueueBind("x"), func(ctx *flyrpc.Context) { got <- service.SourceOf(ctx) })
		synctest.Wait()
		for name, want := range map[string]service.Source{
			"\x07msgpack":                      {},
			"\x0cmsgpack\x00abcd":              {Service: "abcd"},
			"\x0cmsgpack\x00a\x00bc":           {Service: "a", Instance: "bc"},
			"\xfemsgpack\x00" + str("a", 0xf6): {Service: str("a", 0xf6)},
		} {
			meta := flyrpc.AppendMeta(nil, 1<<16+1, "", "somebody\x00else")
			p, err := flyrpc.AppendPacket(nil, &flyrpc.Packet{Code: "x", Meta: meta, Payload: []byte("1")})
			t.check(err)
			data := append([]byte{0xf1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5}, make([]byte, 12)...)
			data = append(append(data, name...), p...)
			t.check(t.bus.Publish(&service.Message{Subject: "s.x", Data: service.Seal(data)}))
			time.Sleep(time.Second)
			if source := <-got; source != want {
				t.Errorf("%q: %v", name, source)
			}
		}
	})
}

func str(s string, n int) string { return strings.Repeat(s, n) }

// One-way messages take as much credit as the connection counts for them: with the sender, whose packets are longer than they came.
func TestSourceAndCredit(t *testing.T) {
	bubble(t, func(t *net) {
		s := t.service("s", &service.Opts{MaxMessage: 1 << 10, MaxCalls: 4})
		var n atomic.Int64
		t.to(s.QueueBind("x"), func(*flyrpc.Context, []byte) {
			time.Sleep(time.Millisecond)
			n.Add(1)
		})
		c := t.service("caller", nil).Service("s")
		for i := range 3000 {
			t.check(c.Send(t.Context(), "x", make([]byte, i%1024)))
		}
		t.check(c.Send(t.Context(), "x", make([]byte, 1024)))
		time.Sleep(time.Minute)
		if n.Load() != 3001 || s.Stats().Malformed != 0 {
			t.Errorf("%d were handled, %d malformed", n.Load(), s.Stats().Malformed)
		}
	})
}

// FuzzSourced has the sender added to packets: nothing else of them changes, and what is malformed stays so.
func FuzzSourced(f *testing.F) {
	for _, p := range []*flyrpc.Packet{
		{Code: "x"},
		{Flag: flyrpc.FlagWait, Code: "x", Payload: []byte("body")},
		{Flag: flyrpc.FlagWait, Code: "x", Meta: flyrpc.AppendMeta(nil, flyrpc.MetaKey, "k", "v"), Payload: []byte("body")},
	} {
		b, _ := flyrpc.AppendPacket(nil, p)
		f.Add(b, "service\x00id")
	}
	f.Fuzz(func(t *testing.T, b []byte, source string) {
		source = source[:min(len(source), 200)]
		before, _, err := flyrpc.ParsePacket(b, 1<<20)
		out, size, splits := service.Sourced(bytes.Clone(b), 7, []byte(source))
		if err != nil || out == nil || !splits {
			return
		}
		after, n, err := flyrpc.ParsePacket(out, 1<<21)
		want := append(flyrpc.AppendMeta(nil, 1<<16+1, "", source), before.Meta...)
		if len(want) > 8<<10 {
			return
		}
		if err != nil || n != len(out) || !bytes.Equal(after.Meta, want) || !bytes.Equal(after.Payload, before.Payload) ||
			after.Code != before.Code || after.Sequence != 7 || after.Flag != before.Flag|flyrpc.FlagMeta || size != len(out)-3-len(after.Code)-1-4 {
			t.Errorf("%+v became %+v, %v; %d bytes of payload", before, after, err, size)
		}
	})
}
