package flyrpctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

// recorded returns a client of a server with handlers of many kinds, and what is recorded at both ends.
func recorded(t *testing.T, opts *flyrpc.ClientOpts) (cli *Client, in, out *Recorder) {
	in, out = new(Recorder), new(Recorder)
	srv := newAdder(t)
	srv.Use(in.Middleware)
	srv.OnMessage("/note", func(string) {})
	srv.OnMessage("/fail", Fail(errors.New("no luck")))
	srv.OnMessage("/panic", func() { panic("oh") })
	srv.OnMessage("/bytes", func(b []byte) []byte { return b })
	srv.OnMessage("/keys", func(m map[int]string) map[int]string { return m })
	srv.OnMessage("/slow", func() { time.Sleep(time.Minute) })
	srv.OnMessage("/items", func(items iter.Seq2[int, error]) iter.Seq2[int, error] { return items })
	srv.OnMessage("/file", func(r io.Reader) io.Reader { return r })
	var o flyrpc.ClientOpts
	if opts != nil {
		o = *opts
	}
	o.Intercept = []flyrpc.Interceptor{out.Interceptor}
	return NewClient(t, srv, &o), in, out
}

// Both ends record the same, whatever the serializer is.
func TestRecorder(t *testing.T) {
	for _, ser := range []serializer.Serializer{json.Serializer, msgpack.Serializer} {
		synctest.Test(t, func(t *testing.T) {
			cli, in, out := recorded(t, &flyrpc.ClientOpts{Serializer: ser})
			ctx := flyrpc.WithMeta(t.Context(), "trace", "7")
			wantSum(t, cli)
			_ = cli.SendMessage(ctx, "/note", "<hi>")
			synctest.Wait() // else what comes next may be handled before it
			_ = cli.Call(ctx, "/fail", sum{}, nil)
			_ = cli.Call(ctx, "/panic", nil, nil)
			var reply []byte
			_ = cli.Call(ctx, "/bytes", []byte{1, 2}, &reply)
			_ = cli.Call(ctx, "/keys", map[int]string{1: "one"}, new(map[int]string))
			_ = cli.Call(ctx, "/slow", nil, nil)
			want := []string{
				`/add {"A":2,"B":3}: 5`, `/note "<hi>": nothing`, `/fail {"A":0,"B":0}: no luck`,
				`/panic nothing: HANDLER_PANIC`, `/bytes "\x01\x02": "\x01\x02"`, `/keys {"1":"one"}: {"1":"one"}`, "/slow nothing: nothing",
			}
			ins, outs := in.Records(""), out.Records("")
			if len(ins) != len(want) || len(outs) != len(want) {
				t.Fatalf("recorded %v\nand %v", ins, outs)
			}
			for i, w := range want {
				if s := strings.ReplaceAll(outs[i].String(), "ERROR: ", ""); !strings.HasPrefix(s, "out "+w) {
					t.Errorf("%s: got %s, want %s", ser.Name(), s, w)
				}
				if i == 5 && ser == msgpack.Serializer { // which reads no such map without knowing its type
					w = strings.Replace(w, `{"1":"one"}`, `"\x81\x01\xa3one"`, 1)
				}
				if s := ins[i].String(); !strings.HasPrefix(s, "in "+w) {
					t.Errorf("%s: got %s, want %s", ser.Name(), s, w)
				}
				if ins[i].OneWay != (i == 1) || outs[i].OneWay != (i == 1) || ins[i].Streams || outs[i].Meta != nil {
					t.Errorf("%+v, %+v", ins[i], outs[i])
				}
				if !ins[i].Ended || !outs[i].Ended || ins[i].Conn == 0 || outs[i].Conn == 0 || ins[i].Outcome != flyrpc.Answered {
					t.Errorf("%+v, %+v", ins[i], outs[i])
				}
			}
			if ins[0].Meta.Get("trace") != "" || ins[2].Meta.Get("trace") != "7" {
				t.Errorf("metadata %v, %v", ins[0].Meta, ins[2].Meta)
			}
			if ins[6].Duration != time.Minute || outs[6].Duration != time.Minute || outs[5].Duration != 0 {
				t.Errorf("durations %v, %v", ins[6].Duration, outs[6].Duration)
			}
			var q sum
			if err := ins[0].Message.Decode(&q); err != nil || q != (sum{2, 3}) {
				t.Errorf("decoded %v, %v", q, err)
			}
			if !errors.Is(outs[2].Err, flyrpc.Failed) || outs[2].Outcome != flyrpc.Answered {
				t.Errorf("%v, %v", outs[2].Err, outs[2].Outcome)
			}
		})
	}
}

// A call whose outcome is unknown is recorded so; the server's record goes on.
func TestRecorderOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, in, out := recorded(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = cli.Call(ctx, "/slow", nil, nil)
		if rec := out.AwaitEnd(t, "/slow", 1); rec.Outcome != flyrpc.Unknown || !errors.Is(rec.Err, flyrpc.Timeout) || rec.Duration != time.Second {
			t.Errorf("%+v", rec)
		}
		if rec := in.AwaitBegin(t, "/slow", 1); rec.Ended || rec.String() != "in /slow nothing, open" {
			t.Errorf("%v", rec)
		}
		time.Sleep(time.Minute)
		if rec := in.AwaitEnd(t, "/slow", 1); rec.Duration != time.Minute {
			t.Errorf("%+v", rec)
		}
	})
}

func TestRecorderStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, in, out := recorded(t, nil)
		items := func(yield func(int) bool) {
			for i := 0; i < 3 && yield(i); i++ {
			}
		}
		n := 0
		for range flyrpc.Exchange[int, int](t.Context(), cli, "/items", nil, items) {
			n++
		}
		var r io.Reader
		if err := cli.Call(t.Context(), "/file", strings.NewReader("text"), &r); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		if n != 3 || string(text) != "text" {
			t.Errorf("%d items, %q", n, text)
		}
		for _, rec := range []*Recorder{in, out} {
			rec.AwaitEnd(t, "/items", 1)
			rec.AwaitEnd(t, "/file", 1)
			for _, r := range rec.Records("") {
				if r.Err != nil || r.Message.String() != "nothing" || r.Reply.String() != "nothing" || r.Streams != (rec == in || r.Path == "/items") {
					t.Errorf("%+v", r)
				}
			}
		}
	})
}

// A Recorder keeps so many calls, and so many bytes of each.
func TestRecorderBounds(t *testing.T) {
	cli, _, out := recorded(t, nil)
	out.MaxRecords, out.MaxBody = 2, 10
	_ = cli.Call(t.Context(), "/bytes", make([]byte, 11), nil)
	_ = cli.Call(t.Context(), "/note", strings.Repeat("y", 9), nil)
	_ = cli.Call(t.Context(), "/add", sum{}, nil)
	list := out.Records("")
	if len(list) != 2 || out.Missed() != 1 {
		t.Fatalf("%v, %d missed", list, out.Missed())
	}
	if b := list[0].Message; !b.Cut || !bytes.Equal(b.Raw, make([]byte, 10)) {
		t.Errorf("%+v", b)
	}
	if b := list[1].Message; b.String() != `"\"yyyyyyyyy"...` || b.JSON != nil {
		t.Errorf("%v", b)
	}
	f := &fakeTB{TB: t}
	wantText(t, f.run(func(t testing.TB) { out.AwaitBegin(t, "/add", 1) }), "among the 1 that found it full, with 2 records", "MaxRecords")
	out.Reset()
	_ = cli.Call(t.Context(), "/add", sum{}, nil)
	if rec := out.AwaitEnd(t, "/add", 1); rec.Path != "/add" || out.Missed() != 0 {
		t.Errorf("%+v", rec)
	}
}

func TestRecorderAwaitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, in, _ := recorded(t, nil)
		for i := range 25 {
			_ = cli.Call(t.Context(), "/note", fmt.Sprint(i), nil)
		}
		begin := time.Now()
		f := &fakeTB{TB: t}
		wantText(t, f.run(func(t testing.TB) { in.AwaitBegin(t, "/note", 26) }),
			`call 26 of "/note" didn't begin within 10s. Recorded are 25 calls:`, "\t... 5 before\n\tin /note \"5\": nothing\n", `"24"`)
		if d := time.Since(begin); d != Patience {
			t.Errorf("it took %v", d)
		}
		f = &fakeTB{TB: t}
		wantText(t, f.run(func(t testing.TB) { in.AwaitEnd(t, "", 0) }), "the first is 1")
	})
}

// Many calls at once, awaited while they come.
func TestRecorderRacy(t *testing.T) {
	cli, in, out := recorded(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				wantSum(t, cli)
			}
		})
		wg.Go(func() { in.AwaitBegin(t, "/add", 50) })
	}
	out.AwaitEnd(t, "", 100)
	wg.Wait()
	if n := len(in.Records("/add")); n != 100 {
		t.Errorf("%d calls", n)
	}
}

// What can't be made JSON of is nothing, or as it came.
func TestBody(t *testing.T) {
	r := new(Recorder)
	none := map[string]any{
		"nil": nil, "nil pointer": (*sum)(nil), "channel": make(chan int), "reader": strings.NewReader("x"),
		"pointer to a reader": new(io.Reader), "pointer to a read closer": new(io.ReadCloser), "pointer to nil": new(any),
	}
	for name, v := range none {
		if b := r.body(v); b.String() != "nothing" || b.Decode(v) != nil {
			t.Errorf("%s: %v", name, b)
		}
	}
	var v any = []byte{0}
	for _, v := range []any{v, &v, &[]byte{0}} {
		if b := r.body(v); b.String() != `"\x00"` || b.Decode(&v) == nil {
			t.Errorf("%T: %v", v, b)
		}
	}
	srv := NewServer(t, nil)
	srv.Use(r.Middleware)
	srv.OnMessage("/x", func(*flyrpc.Packet) {})
	cli := NewClient(t, srv, &flyrpc.ClientOpts{Serializer: json.Serializer})
	if _, err := cli.Conn().SendRequest(t.Context(), "/x", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if got := r.Records("/x")[0].Message.String(); got != `"{"` {
		t.Errorf("no JSON: %s", got)
	}
}

func TestStubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(t, nil)
		srv.OnMessage("/x", InTurn(Fail(flyrpc.Busy), Hang(), Reply(sum{1, 2})))
		cli := NewClient(t, srv, nil)
		wantErr(t, cli.Call(t.Context(), "/x", nil, nil), flyrpc.Busy, flyrpc.Answered)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		wantErr(t, cli.Call(ctx, "/x", nil, nil), flyrpc.Timeout, flyrpc.Unknown)
		for range 2 {
			if got, err := flyrpc.Call[sum](t.Context(), cli, "/x", nil); got != (sum{1, 2}) || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		}
		defer func() { wantText(t, fmt.Sprint(recover()), "InTurn") }()
		InTurn()
	})
}
