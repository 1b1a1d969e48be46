package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/transport"
)

// helloKeys are the fields of hello that the protocol knows.
func helloKeys() []string {
	return []string{
		"flyrpc", "agent", "serializers", "inflate", "message", "frame", "calls",
		"window", "messages", "codes", "keepalive", "auth", "info",
	}
}

// wantFields checks fields of a hello, and that it has no others than those known.
func wantFields(t *testing.T, got, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if !reflect.DeepEqual(got[key], value) {
			t.Errorf("%s is %#v, want %#v", key, got[key], value)
		}
	}
	for key := range got {
		if !slices.Contains(helloKeys(), key) {
			t.Errorf("hello has the field %q, which the protocol doesn't know", key)
		}
	}
}

func TestHelloClientSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, &ClientOpts{
			MaxMessage: 1000, MaxFrame: 2000, MaxCalls: 7,
			Auth: map[string]string{"token": "t"}, Info: []int{1}, KeepaliveTime: 1500 * time.Microsecond,
		})
		go cli.Connect(context.Background())
		got := w.serverHello(`{"flyrpc":2,"serializers":["json"]}`)
		wantFields(t, got, map[string]any{
			"flyrpc": 2.0, "agent": agent, "serializers": []any{"msgpack", "json"}, "inflate": []any{"zstd", "flate"},
			"message": 1000.0, "frame": 2000.0, "calls": 7.0, "keepalive": 2.0,
			"auth": map[string]any{"token": "t"}, "info": []any{1.0},
		})
		synctest.Wait()
		if got := cli.Conn().PeerInfo(); got.Serializer != "json" || got.Version != 2 {
			t.Errorf("PeerInfo is %+v", got)
		}
	})
}

func TestHelloServerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxMessage: 1000, MaxFrame: 2000, MaxCalls: 7, Info: map[string]int{"build": 3}})
		got := wireTo(t, srv).hello(`{"flyrpc":2,"serializers":["nope","json","msgpack"],"unknown":{"a":[1]},"auth":{"x":1}}`)
		wantFields(t, got, map[string]any{
			"flyrpc": 2.0, "agent": agent, "serializers": []any{"json"}, "inflate": []any{"zstd", "flate"},
			"message": 1000.0, "frame": 2000.0, "calls": 7.0, "keepalive": 30000.0, "info": map[string]any{"build": 3.0}, "auth": nil,
		})
	})
}

func TestHelloDefaultsAndClamps(t *testing.T) {
	defaults := PeerInfo{Version: 2, Serializer: "json", MaxMessage: 4 << 20, MaxFrame: 64 << 10, MaxCalls: 1024}
	with := func(change func(*PeerInfo)) PeerInfo {
		p := defaults
		change(&p)
		return p
	}
	most := with(func(p *PeerInfo) { p.MaxMessage, p.MaxFrame, p.MaxCalls = math.MaxInt, math.MaxInt, maxOpenCalls })
	tests := []struct {
		fields string
		want   PeerInfo
	}{
		{``, defaults},
		{`,"agent":"a","info":{"n":1}`, with(func(p *PeerInfo) { p.Agent, p.Info = "a", json.RawMessage(`{"n":1}`) })},
		{`,"message":0,"frame":0,"calls":0`, defaults},
		{`,"message":-5,"frame":-1,"calls":-9e99`, defaults},
		{`,"message":null,"frame":null,"info":null`, defaults},
		{`,"message":100,"frame":50,"calls":2`, with(func(p *PeerInfo) { p.MaxMessage, p.MaxFrame, p.MaxCalls = 100, 50, 2 })},
		{`,"message":1e30,"frame":99999999999999999999999,"calls":1e300`, most},
		{`,"message":9223372036854775807,"frame":9223372036854775808,"calls":9223372036854775807`, most},
		{`,"calls":2.5`, with(func(p *PeerInfo) { p.MaxCalls = 2 })},
	}
	for _, tt := range tests {
		t.Run(tt.fields, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, nil)
				w := wireTo(t, srv)
				w.hello(`{"flyrpc":2,"serializers":["json"]` + tt.fields + `}`)
				synctest.Wait()
				if got := srv.Conns()[0].PeerInfo(); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("the server has %+v, want %+v", got, tt.want)
				}
				cli, sw := clientWire(t, nil)
				go cli.Connect(context.Background())
				sw.serverHello(`{"flyrpc":2,"serializers":["json"]` + tt.fields + `}`)
				synctest.Wait()
				if got := cli.Conn().PeerInfo(); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("the client has %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// A peer that takes less than a packet needs is told so before anything is sent.
func TestHelloSmallLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/fail", func() error { return errors.New(strings.Repeat("x", 100<<10)) })
		w := wireTo(t, srv)
		w.hello(`{"flyrpc":2,"serializers":["json"],"message":1048576}`)
		w.request(1, "/fail", "")
		if p := w.wantAnswer(1, Failed, "xxx"); len(p.Payload)+len(p.Meta) > 64<<10 {
			t.Errorf("an answer of %d bytes, though the frame is 64 KiB", len(p.Payload))
		}
		err := srv.Conns()[0].SendMessage(context.Background(), "/big", make([]byte, 1<<20+1))
		wantErr(t, err, TooLong, NotSent)
	})
}

func TestHelloTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Serializers: []serializer.Serializer{jsonser.Serializer}})
		srv.OnMessage("/add", func(n int) int { return n + 1 })
		w := wireTo(t, srv)
		w.hello(plainHello)
		synctest.Wait()
		before := srv.Conns()[0].PeerInfo()
		w.request(9, "fly.hello", `{"flyrpc":2,"serializers":["json"],"agent":"other","message":1}`)
		if p := w.wantAnswer(9, Conflict, "already"); !isNotProcessed(p) {
			t.Error("the second hello's answer isn't marked not processed")
		}
		if got := srv.Conns()[0].PeerInfo(); !reflect.DeepEqual(got, before) {
			t.Errorf("the second hello changed %+v to %+v", before, got)
		}
		w.request(10, "/add", "1")
		w.wantAnswer(10, "", "2")
	})
}

// The server is not the one to say hello.
func TestHelloFromServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		go cli.Connect(context.Background())
		w.serverHello(plainHello)
		w.request(3, "fly.hello", plainHello)
		w.wantAnswer(3, Conflict, "wrong end")
	})
}

func TestHelloRefused(t *testing.T) {
	tests := []struct {
		name, payload string
		flag          Flag
		code          Code
		message       string
	}{
		{"no JSON", "garbage", 0, BadRequest, "no JSON object"},
		{"an array", "[1]", 0, BadRequest, "no JSON object"},
		{"nothing", "", 0, BadRequest, "no JSON object"},
		{"another version", `{"flyrpc":3,"serializers":["json"]}`, 0, BadRequest, "version 3"},
		{"no version", `{"serializers":["json"]}`, 0, BadRequest, "version 0"},
		{"no serializer", `{"flyrpc":2}`, 0, BadRequest, "choose from [msgpack json]"},
		{"none in common", `{"flyrpc":2,"serializers":["xml"]}`, 0, BadRequest, `["xml"]`},
		{"auth no object", `{"flyrpc":2,"serializers":["json"],"auth":"s3cret"}`, 0, BadRequest, "auth"},
		{"malformed metadata", "\xff" + plainHello, FlagMeta, BadRequest, "metadata"},
		{"malformed entry", "\x01\x00" + plainHello, FlagMeta, BadRequest, "metadata"},
		{"oversized", `{"flyrpc":2,"serializers":["json"],"info":"` + strings.Repeat("x", maxHello) + `"}`, 0, TooLong, "16384"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wireTo(t, quietServer(t, &ServerOpts{NoHTTP: true}))
				flag := FlagWait | tt.flag
				b := appendHeader(nil, flag, 5, "fly.hello", nil, len(tt.payload))
				w.write(append(b, tt.payload...))
				if p := w.wantAnswer(5, tt.code, tt.message); !isNotProcessed(p) {
					t.Error("the answer isn't marked not processed")
				}
				w.wantEnd()
			})
		})
	}
	t.Run("compressed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := wireTo(t, quietServer(t, &ServerOpts{NoHTTP: true}))
			w.send(Packet{Flag: FlagWait | FlagZipPayload, Sequence: 1, Code: "fly.hello", Payload: []byte(plainHello)})
			w.wantEnd()
		})
	})
}

// A limit of 16 KiB holds before hello, and a payload of just that size has to come in time.
func TestHelloLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		pad := strings.Repeat(" ", maxHello-len(plainHello))
		wireTo(t, srv).hello(plainHello + pad)

		for _, n := range []int{100, 1000, maxHello - 1, maxHello} {
			w := wireTo(t, srv)
			begin := time.Now()
			w.write(appendHeader(nil, FlagWait, 1, "fly.hello", nil, n))
			w.wantEnd()
			if d := time.Since(begin); d != DefaultHelloTimeout {
				t.Errorf("a hello of %d bytes that doesn't come was cut after %v", n, d)
			}
		}
	})
}

func TestHelloSlow(t *testing.T) {
	for _, packet := range []Packet{
		{Flag: FlagWait, Sequence: 1, Code: "fly.hello", Payload: []byte(plainHello)},
		{Flag: FlagWait, Sequence: 1, Code: "/x", Payload: []byte("version 1")},
	} {
		t.Run(packet.Code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, text := newLogText()
				srv := quietServer(t, &ServerOpts{HelloTimeout: time.Second, Logger: log})
				w := wireTo(t, srv)
				b, _ := AppendPacket(nil, &packet)
				time.Sleep(time.Hour) // what hasn't begun may take its time
				begin := time.Now()
				for i := range 4 { // a byte each 300 ms, the last one too late
					w.write(b[i : i+1])
					time.Sleep(300 * time.Millisecond)
				}
				w.wantEnd()
				if d := time.Since(begin); d != 1200*time.Millisecond {
					t.Errorf("cut after %v", d)
				}
				synctest.Wait()
				wantText(t, text.String(), "level=WARN", "first packet", "1s")
			})
		})
	}
}

// The answer to hello is the first packet, whatever OnConnect and broadcasts do meanwhile.
func TestHelloAnswerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnConnect(func(ctx *Context) error { return ctx.SendMessage("/early", "x") })
		for range 50 {
			go func() {
				for range 20 {
					_ = srv.Broadcast("/news", "y")
				}
			}()
			w := wireTo(t, srv)
			w.hello(plainHello)
			if p := w.recv(); p.Code != "/early" && p.Code != "/news" {
				t.Fatalf("got %+v", p)
			}
			w.conn.Close()
		}
	})
}

func TestHelloNoCommonSerializer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Serializers: []serializer.Serializer{jsonser.Serializer}})
		other := serializer.Adapt("xml", json.Marshal, json.Unmarshal)
		cli := pipeClient(t, srv, &ClientOpts{Serializer: other})
		err := cli.Connect(context.Background())
		wantErr(t, err, BadRequest, NotProcessed)
		wantText(t, err.Error(), `["xml"]`, "[json]")

		cli, w := clientWire(t, nil)
		done := make(chan error, 1)
		go func() { done <- cli.Connect(context.Background()) }()
		w.serverHello(`{"flyrpc":2,"serializers":["xml"]}`)
		err = within(t, done)
		wantErr(t, err, BadRequest, NotSent)
		wantText(t, err.Error(), `["xml"]`, "[msgpack json]")
	})
}

func TestHelloSerializerPreference(t *testing.T) {
	both := []serializer.Serializer{jsonser.Serializer, stubSerializer("msgpack")}
	tests := []struct {
		server []serializer.Serializer
		client serializer.Serializer
		want   string
	}{
		{nil, nil, "msgpack"},
		{both, nil, "msgpack"}, // the client prefers it
		{both[:1], nil, "json"},
		{nil, jsonser.Serializer, "json"},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{Serializers: tt.server})
				cli := connectPipe(t, srv, &ClientOpts{Serializer: tt.client})
				if got := cli.Conn().PeerInfo().Serializer; got != tt.want {
					t.Errorf("the connection has %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// stubSerializer returns a serializer of any name that speaks JSON.
func stubSerializer(name string) serializer.Serializer {
	return serializer.Adapt(name, json.Marshal, json.Unmarshal)
}

// TestModesAreShared: connections that agree on the same have it once, unless a program may change it.
func TestModesAreShared(t *testing.T) {
	srv := NewServer(&ServerOpts{Logger: new(pairLog).logger()})
	defer srv.Close()
	conn := func(info any) *Conn {
		near, far := transport.Pipe(nil)
		served := make(chan struct{})
		go func() { defer close(served); srv.ServeConn(far) }()
		cli := NewClientConn(near, &ClientOpts{Logger: new(pairLog).logger(), Info: info})
		t.Cleanup(func() { cli.Close(); await1(t, served, "the connection to end") })
		if _, err := cli.Ping(0, patience); err != nil {
			t.Fatal(err)
		}
		conns := srv.Conns()
		return conns[len(conns)-1]
	}
	plain, same, told, again := conn(nil), conn(nil), conn("me"), conn("me")
	if plain.mode.Load() != same.mode.Load() {
		t.Error("two connections alike have a mode each")
	}
	if told.mode.Load() == again.mode.Load() || string(told.PeerInfo().Info) != `"me"` || plain.PeerInfo().Info != nil {
		t.Errorf("what a client says of itself is shared: %s, %s", told.PeerInfo().Info, plain.PeerInfo().Info)
	}
	if c := conn(nil); c.PeerInfo().Info != nil || c.PeerInfo().Agent != agent {
		t.Errorf("got %+v", c.PeerInfo())
	}
}
