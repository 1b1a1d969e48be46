package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

// countingSerializer counts what it encodes.
type countingSerializer struct {
	serializer.Serializer
	encoded atomic.Int32
}

func (c *countingSerializer) Encode(dst []byte, v any) ([]byte, error) {
	c.encoded.Add(1)
	return c.Serializer.Encode(dst, v)
}

func allSerializers() []serializer.Serializer {
	return []serializer.Serializer{jsonser.Serializer, msgpack.Serializer, protobuf.Serializer}
}

// One server serves clients of all serializers, and a version 1 client beside them.
func TestServerSerializers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Serializers: allSerializers()})
		srv.OnMessage("/upper", func(ctx *Context, m *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			name := ctx.Conn().PeerInfo().Serializer
			return &wrapperspb.StringValue{Value: strings.ToUpper(m.Value) + " " + name}, nil
		})
		for _, ser := range allSerializers() {
			cli := connectPipe(t, srv, &ClientOpts{Serializer: ser})
			got, err := Call[wrapperspb.StringValue](context.Background(), cli, "/upper", &wrapperspb.StringValue{Value: "x"})
			if want := "X " + ser.Name(); err != nil || got.Value != want {
				t.Errorf("%s: %q, %v", ser.Name(), got.Value, err)
			}
		}
		v1 := wireTo(t, srv)
		v1.request(1, "/upper", `{"value":"y"}`)
		if p := v1.wantAnswer(1, "", `{"value":"Y json"}`); p.Flag != FlagResponse {
			t.Errorf("the flags are %#x", p.Flag)
		}
	})
}

// A server that speaks no JSON to version 2 still does to version 1, unless told otherwise.
func TestServerV1Serializer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		add := func(n int) int { return n + 1 }
		srv := quietServer(t, &ServerOpts{Serializers: []serializer.Serializer{msgpack.Serializer}})
		srv.OnMessage("/add", add)
		w := wireTo(t, srv)
		w.request(1, "/add", "41")
		w.wantAnswer(1, "", "42")
		srv = quietServer(t, &ServerOpts{V1Serializer: msgpack.Serializer})
		srv.OnMessage("/add", add)
		w = wireTo(t, srv)
		w.request(1, "/add", "\x29")
		w.wantAnswer(1, "", "\x2a")
	})
}

func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counting []*countingSerializer
		var sers []serializer.Serializer
		for _, s := range allSerializers() {
			c := &countingSerializer{Serializer: s}
			counting, sers = append(counting, c), append(sers, c)
		}
		v1Form := &countingSerializer{Serializer: jsonser.Serializer}
		srv := quietServer(t, &ServerOpts{Serializers: sers, V1Serializer: v1Form})
		got := make(chan string, 20)
		for _, ser := range append(allSerializers(), allSerializers()...) {
			cli := connectPipe(t, srv, &ClientOpts{Serializer: ser})
			cli.OnMessage("/news", func(m *wrapperspb.StringValue) { got <- ser.Name() + " " + m.Value })
		}
		v1 := wireTo(t, srv)
		v1.send(Packet{Code: "/nothing"})
		synctest.Wait()
		if err := srv.Broadcast("/news", &wrapperspb.StringValue{Value: "hi"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		count := map[string]int{}
		for range 6 {
			count[within(t, got)]++
		}
		if fmt.Sprint(count) != "map[json hi:2 msgpack hi:2 protobuf hi:2]" {
			t.Errorf("got %v", count)
		}
		if p := v1.recv(); p.Code != "/news" || string(p.Payload) != `{"value":"hi"}` || p.Flag != 0 || p.Sequence != 0 {
			t.Errorf("version 1 got %+v", p)
		}
		for _, c := range append(counting, v1Form) {
			if n := c.encoded.Load(); n != 1 {
				t.Errorf("%s encoded %d times", c.Name(), n)
			}
		}
		if err := quietServer(t, nil).Broadcast("/news", "x"); err != nil {
			t.Errorf("to nobody: %v", err)
		}
	})
}

// A connection that doesn't read is left out and reported; Broadcast doesn't wait for it.
func TestBroadcastSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxQueued: 64 << 10})
		stuck := wireTo(t, srv)
		stuck.hello(`{"flyrpc":2,"serializers":["json"],"codes":0,"messages":1048576}`)
		small := wireTo(t, srv)
		small.hello(`{"flyrpc":2,"serializers":["json"],"message":100}`)
		cli := connectPipe(t, srv, nil)
		var n atomic.Int32
		cli.OnMessage("/big", func(b []byte) { n.Add(1) })
		synctest.Wait()
		var errs [4]error
		for i := range errs { // 64 KiB of the pipe, and as much as is queued
			errs[i] = srv.Broadcast("/big", make([]byte, 60<<10))
			synctest.Wait()
		}
		if got := n.Load(); int(got) != len(errs) {
			t.Errorf("the client that reads got %d", got)
		}
		for i, err := range errs {
			if !errors.Is(err, TooLong) {
				t.Errorf("broadcast %d: %v doesn't report the small one", i, err)
			}
			var e *Error
			if errors.As(err, &e) && Outcome(e) != NotSent {
				t.Errorf("the outcome is %v", Outcome(e))
			}
		}
		last := errs[len(errs)-1]
		if errors.Is(errs[0], Busy) || !errors.Is(last, Busy) {
			t.Errorf("first %v, last %v", errs[0], last)
		}
		wantText(t, last.Error(), "connection 1", "connection 2", "mem://")
		if strings.Contains(last.Error(), "connection 3") {
			t.Errorf("%v reports who got it", last)
		}
		for range 2 { // what was queued for the one that didn't read comes whole
			if p := stuck.recv(); len(p.Payload) != 60<<10 || p.Code != "/big" {
				t.Errorf("got %d bytes", len(p.Payload))
			}
		}
	})
}

func TestBroadcastErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Serializers: allSerializers()})
		pb := connectPipe(t, srv, &ClientOpts{Serializer: protobuf.Serializer})
		js := connectPipe(t, srv, &ClientOpts{Serializer: jsonser.Serializer})
		got := make(chan json.Number, 2)
		for _, cli := range []*Client{pb, js} {
			cli.OnMessage("/n", func(n json.Number) { got <- n })
		}
		synctest.Wait()
		err := srv.Broadcast("/n", 7) // which Protocol Buffers can't express
		if !errors.Is(err, BadRequest) || strings.Contains(err.Error(), "connection 2") {
			t.Errorf("got %v", err)
		}
		wantText(t, err.Error(), "connection 1", "protobuf")
		if n := within(t, got); n != "7" {
			t.Errorf("got %v", n)
		}
		if err := srv.Broadcast("/a\x00b", nil); !errors.Is(err, BadRequest) {
			t.Errorf("a path with a zero byte: %v", err)
		}
		if err := srv.Broadcast("/n", func() {}); !errors.Is(err, BadRequest) {
			t.Errorf("a function: %v", err)
		}
	})
}
