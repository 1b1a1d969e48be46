package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSendRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/raw", func(ctx *Context, b []byte) ([]byte, error) {
			if err := ctx.SetMeta("k", "v"); err != nil {
				return nil, err
			}
			return append(b, '!'), nil
		})
		srv.OnMessage("/fail", func() error { return Errorf(Conflict, "no") })
		srv.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		srv.OnMessage("/odd", func(ctx *Context) error { return ctx.Reply("ODD", []byte{0, 1, 2}) })
		c := connectPipe(t, srv, nil).Conn()
		p, err := c.SendRequest(context.Background(), "/raw", []byte("abc"))
		if err != nil || string(p.Payload) != "abc!" || p.Code != "" || p.Flag&FlagResponse == 0 || userMeta(p.Meta).Get("k") != "v" {
			t.Errorf("got %+v, %v", p, err)
		}
		for path, want := range map[string]string{"/fail": "CONFLICT no", "/none": `NOT_FOUND no handler for "/none"`, "/odd": "ODD \x00\x01\x02"} {
			p, err := c.SendRequest(context.Background(), path, nil)
			if err != nil || p.Code+" "+string(p.Payload) != want {
				t.Errorf("%s: got %+v, %v; want %q", path, p, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = c.SendRequest(ctx, "/wait", nil)
		wantErr(t, err, Timeout, Unknown)
		_, err = c.SendRequest(ctx, "/wait", nil)
		wantErr(t, err, Timeout, NotSent)
		_, err = c.SendRequest(context.Background(), "/a\x00", nil)
		wantErr(t, err, BadRequest, NotSent)
		pending := make(chan error, 1)
		go func() { _, err := c.SendRequest(context.Background(), "/wait", nil); pending <- err }()
		synctest.Wait()
		c.Close()
		wantErr(t, within(t, pending), Unavailable, Unknown)
	})
}

// OnPacket sees all packets, takes over those it wants, and can answer them itself.
func TestOnPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() string { return "handler" })
		cli := connectPipe(t, srv, nil)
		synctest.Wait()
		sc := srv.Conns()[0]
		var raw, cooked []string
		sc.OnRawPacket(func(p *Packet) bool { raw = append(raw, p.Code); return p.Code == "/raw" })
		sc.OnPacket(func(p *Packet) bool {
			cooked = append(cooked, p.Code)
			if p.Code != "/mine" {
				return false
			}
			if err := sc.SendResponse(p.Sequence, "", append([]byte("mine "), p.Payload...)); err != nil {
				t.Error(err)
			}
			clear(p.Payload) // it is the hook's own
			return true
		})
		call := func(path string) string {
			p, err := cli.Conn().SendRequest(context.Background(), path, []byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			return p.Code + string(p.Payload)
		}
		if got := call("/x") + call("/mine"); got != "handlermine payload" {
			t.Errorf("got %q", got)
		}
		if err := cli.SendMessage(context.Background(), "/raw", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := cli.Ping(0, time.Second); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(raw, " ") + "; " + strings.Join(cooked, " "); got != "/x /mine /raw fly.ping; /x /mine fly.ping" {
			t.Errorf("seen: %s", got)
		}
		sc.OnPacket(nil)
		sc.OnRawPacket(nil)
		if got := call("/mine"); !strings.HasPrefix(got, "NOT_FOUND") {
			t.Errorf("without the hooks got %q", got)
		}
	})
}

// A hook that panics costs its connection and not the process.
func TestOnPacketPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Logger: log})
		srv.OnConnect(func(ctx *Context) error {
			ctx.Conn().OnPacket(func(p *Packet) bool { panic("hook") })
			return nil
		})
		w := wireTo(t, srv)
		w.hello(plainHello)
		synctest.Wait()
		w.request(1, "/x", "")
		w.wantEnd()
		synctest.Wait()
		wantText(t, text.String(), "hook", "OnPacket", "level=ERROR")
	})
}

// Packets that are sent as they are reach the other end unchanged.
func TestSendPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		connected := make(chan error, 1)
		go func() { connected <- cli.Connect(context.Background()) }()
		w.serverHello(plainHello)
		if err := within(t, connected); err != nil {
			t.Fatal(err)
		}
		c := cli.Conn()
		packets := []Packet{
			{Flag: FlagStream | FlagWait, Sequence: 77, Code: "/s", Payload: []byte("x")},
			{Code: "", Payload: nil},
			{Flag: FlagResponse, Sequence: 3, Code: "E", Meta: AppendMeta(nil, MetaNotProcessed, "", ""), Payload: []byte{0}},
			{Flag: FlagZipCode | FlagZipPayload, Code: "zz", Payload: []byte("zipped")},
			{Flag: FlagWait, Sequence: 5, Code: "/big", Payload: bytes.Repeat([]byte{9}, 70000)},
		}
		for i, p := range packets {
			send := []func(*Packet) error{c.SendPacket, c.SendRawPacket}[i%2]
			if err := send(&p); err != nil {
				t.Fatal(err)
			}
			got := w.recv()
			want := p
			if len(p.Meta) > 0 {
				want.Flag |= FlagMeta
			}
			if got.Flag&^FlagMeta != p.Flag || got.Sequence != p.Sequence || got.Code != p.Code ||
				!bytes.Equal(got.Meta, p.Meta) || !bytes.Equal(got.Payload, p.Payload) {
				t.Errorf("sent %+v, got %+v", want, got)
			}
		}
		if err := c.SendPacket(&Packet{Code: "a\x00b"}); err == nil {
			t.Error("a code with a zero byte")
		}
		if err := c.SendPacket(&Packet{Code: strings.Repeat("x", maxCodeLen+1)}); !errors.Is(err, ErrLongCode) {
			t.Errorf("a long code: %v", err)
		}
		if err := c.SendRawPacket(&Packet{Meta: make([]byte, maxMetaLen+1)}); !errors.Is(err, ErrBadMeta) {
			t.Errorf("long metadata: %v", err)
		}
		if err := c.SendResponse(9, Forbidden, []byte("no")); err != nil {
			t.Fatal(err)
		}
		w.wantAnswer(9, Forbidden, "no")
	})
}
