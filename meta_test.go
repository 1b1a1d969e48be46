package flyrpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMetaThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		binary := "\x00\xff\n" + strings.Repeat("v", 300)
		srv.OnMessage("/meta", func(ctx *Context) error {
			m := ctx.Meta()
			m["mine"] = "changed here only"
			for k, v := range ctx.Meta() {
				if err := ctx.SetMeta("got "+k, v); err != nil {
					return err
				}
			}
			if ctx.Meta().Get("fail") != "" {
				return Forbidden
			}
			return nil
		})
		got := make(chan Metadata, 1)
		srv.OnMessage("/message", func(ctx *Context) { got <- ctx.Meta() })
		cli := connectPipe(t, srv, nil)
		ctx := WithMeta(WithMeta(context.Background(), "a", "1"), "b", binary)
		other := WithMeta(ctx, "a", "2") // the last one counts, and ctx stays as it is
		for c, want := range map[context.Context]Metadata{
			context.Background(): {}, ctx: {"got a": "1", "got b": binary}, other: {"got a": "2", "got b": binary},
		} {
			reply := Metadata{"old": "value"}
			if err := cli.Call(WithReplyMeta(c, &reply), "/meta", nil, nil); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(reply, want) {
				t.Errorf("got %q, want %q", reply, want)
			}
		}
		var reply Metadata
		err := cli.Call(WithReplyMeta(WithMeta(context.Background(), "fail", "y"), &reply), "/meta", nil, nil)
		wantErr(t, err, Forbidden, Answered)
		if reply.Get("got fail") != "y" {
			t.Errorf("with an error got %q", reply)
		}
		if err := cli.SendMessage(other, "/message", "x"); err != nil {
			t.Fatal(err)
		}
		if m := within(t, got); !maps.Equal(m, Metadata{"a": "2", "b": binary}) {
			t.Errorf("a message had %q", m)
		}
	})
}

// What a caller sent is not passed on by itself, nor taken for the identity.
func TestMetaIsNotInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/relay", func(ctx *Context) (string, error) {
			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			var plain, derivedReply, own string
			for _, call := range []struct {
				ctx   context.Context
				reply *string
			}{{ctx, &plain}, {derived, &derivedReply}, {WithMeta(ctx, "own", "o"), &own}} {
				if err := ctx.Conn().Call(call.ctx, "/echo", nil, call.reply); err != nil {
					return "", err
				}
			}
			return fmt.Sprint(plain, derivedReply, own, ctx.Conn().Identity()), nil
		})
		cli := connectPipe(t, srv, nil)
		cli.OnMessage("/echo", func(ctx *Context) string { return fmt.Sprint(len(ctx.Meta()), ctx.Meta().Get("own"), ";") })
		got, err := Call[string](WithMeta(context.Background(), "identity", "root"), cli, "/relay", nil)
		if err != nil || got != "0;0;1o;<nil>" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestMetaLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		handled := 0
		srv.OnMessage("/n", func(ctx *Context) (int, error) {
			handled++
			for i := range 100 {
				if err := ctx.SetMeta(fmt.Sprint(i), "x"); err != nil {
					wantErr(t, err, TooLong, NotSent)
					return i, nil
				}
			}
			return 100, nil
		})
		cli := connectPipe(t, srv, nil)
		many := context.Background()
		for i := range maxMetaEntries - metaReserveEntries {
			many = WithMeta(many, fmt.Sprint(i), "x")
		}
		many, cancel := context.WithTimeout(WithIdempotent(many), time.Minute)
		defer cancel()
		if n, err := Call[int](many, cli, "/n", "raw text"); err != nil || n != maxMetaEntries-metaReserveEntries {
			t.Errorf("with all that is allowed: %d, %v", n, err)
		}
		large := WithMeta(context.Background(), "k", strings.Repeat("x", maxMetaLen-metaReserveBytes-6))
		if _, err := Call[int](large, cli, "/n", nil); err != nil {
			t.Errorf("with all that is allowed: %v", err)
		}
		for _, ctx := range []context.Context{
			WithMeta(many, "one more", "x"),
			WithMeta(large, "k", "x"),
			WithMeta(context.Background(), "k", strings.Repeat("x", maxMetaLen)),
			WithReplyMeta(WithMeta(WithMeta(large, "k", "x"), "later", "x"), new(Metadata)),
		} {
			before := handled
			wantErr(t, cli.Call(ctx, "/n", nil, nil), TooLong, NotSent)
			wantErr(t, cli.SendMessage(ctx, "/n", nil), TooLong, NotSent)
			if handled != before {
				t.Error("a handler ran")
			}
		}
	})
}

// Metadata that no FlyRPC client sends: unknown ids are skipped, malformed blocks refused.
func TestMetaOnTheWire(t *testing.T) {
	uvarint := func(n uint64) string { return string(binary.AppendUvarint(nil, n)) }
	entry := func(id MetaID, v string) string { return string(AppendMeta(nil, id, "", v)) }
	user := string(AppendMeta(nil, MetaKey, "k", "v"))
	many := strings.Repeat(string(AppendMeta(nil, MetaKey, "k", "v")), maxMetaEntries)
	long := string(AppendMeta(nil, MetaKey, "k", strings.Repeat("v", 8100)))
	block := func(b string) string { return uvarint(uint64(len(b))) + b }
	tests := []struct {
		name, payload string
		code          Code
		message       string
	}{
		{"unknown ids", block(entry(99, "x") + user + entry(1<<40, "")), "", "v"},
		{"64 entries", block(many), "", "v"},
		{"8 KiB", block(long), "", "vvv"},
		{"empty block", block(""), "", ""},
		{"trace ids of any length", block(entry(MetaTraceparent, "short") + entry(MetaTracestate, "x=y") + user), "", "v"},
		{"not processed on a request", block(entry(MetaNotProcessed, "") + user), "", "v"},
		{"timeout", block(entry(MetaTimeout, uvarint(1<<63)) + user), "", "v"},
		{"no block", "", BadRequest, "metadata"},
		{"block longer than the payload", uvarint(5) + "abc", BadRequest, "metadata"},
		{"block over 8 KiB", block(strings.Repeat(many, 30)), BadRequest, "metadata"},
		{"65 entries", block(many + user), BadRequest, "64"},
		{"cut id", block("\xff"), BadRequest, "no id"},
		{"cut key", block("\x00\x05k"), BadRequest, "key"},
		{"cut value", block("\x02\x05v"), BadRequest, "value"},
		{"bad timeout", block(entry(MetaTimeout, "\xff")), BadRequest, "timeout"},
		{"timeout with more behind", block(entry(MetaTimeout, "\x05\x05")), BadRequest, "timeout"},
		{"no time left", block(entry(MetaTimeout, uvarint(0))), Timeout, "deadline"},
		{"unknown serializer", block(entry(MetaSerializer, "xml")), BadRequest, `"xml"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, nil)
				var handled atomic.Int32
				srv.OnMessage("/k", func(ctx *Context) string { handled.Add(1); return ctx.Meta().Get("k") })
				w := wireTo(t, srv)
				w.hello(plainHello)
				b := appendHeader(nil, FlagWait|FlagMeta, 1, "/k", nil, len(tt.payload))
				w.write(append(b, tt.payload...))
				p := w.wantAnswer(1, tt.code, tt.message)
				if tt.code != "" && (handled.Load() != 0 || !isNotProcessed(p)) {
					t.Errorf("handled %d times, answer %+v", handled.Load(), p)
				}
				b = appendHeader(nil, FlagMeta, 0, "/k", nil, len(tt.payload))
				w.write(append(b, tt.payload...)) // a message has no answer; the connection goes on
				w.request(2, "/k", "")
				w.wantAnswer(2, "", "")
			})
		})
	}
}

// An answer with malformed metadata fails its call alone.
func TestMetaMalformedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		go cli.Connect(context.Background())
		w.serverHello(plainHello)
		for _, payload := range []string{"", "\x05abc", "\x01\xff", "\x03\x04\x01x"} {
			call := cli.Go(context.Background(), "/x", nil, nil)
			p := w.recv()
			b := appendHeader(nil, FlagResponse|FlagMeta, p.Sequence, "", nil, len(payload))
			w.write(append(b, payload...))
			wantErr(t, call.Err(), BadRequest, Answered)
		}
		reply := ""
		call := cli.Go(context.Background(), "/x", nil, &reply)
		p := w.recv()
		w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence, Meta: AppendMeta(nil, 1234, "", "x"), Payload: []byte(`"fine"`)})
		if err := call.Err(); err != nil || reply != "fine" {
			t.Errorf("%q, %v", reply, err)
		}
	})
}

// A version 1 peer never gets metadata.
func TestMetaV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func(ctx *Context) (string, error) { return "y", ctx.SetMeta("k", "v") })
		w := wireTo(t, srv)
		w.request(1, "/x", "")
		if p := w.wantAnswer(1, "", "y"); p.Flag != FlagResponse {
			t.Errorf("got %+v", p)
		}
		ctx, cancel := context.WithTimeout(WithMeta(context.Background(), "k", "v"), time.Minute)
		defer cancel()
		go srv.Conns()[0].Call(ctx, "/back", "text", nil)
		if p := w.recv(); p.Flag != FlagWait || string(p.Payload) != "text" {
			t.Errorf("got %+v", p)
		}
	})
}
