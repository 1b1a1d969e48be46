package service_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	stdnet "net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// The peer of a connection is no source, whatever its metadata says.
func TestSourceOfConnection(t *testing.T) {
	got := make(chan service.Source, 1)
	r := flyrpc.NewRouter()
	r.OnMessage("/x", func(ctx *flyrpc.Context) { got <- service.SourceOf(ctx) })
	srv := r.NewServer(nil)
	defer srv.Close()
	ln, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	cli := flyrpc.NewClient(ln.Addr().String(), nil)
	defer cli.Close()
	if err := cli.Call(t.Context(), "/x", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-got
	meta := flyrpc.AppendMeta(nil, 1<<16+1, "", "billing\x00id")
	if err := cli.Conn().SendRawPacket(&flyrpc.Packet{Code: "/x", Meta: meta}); err != nil {
		t.Fatal(err)
	}
	if source := <-got; source != (service.Source{}) {
		t.Errorf("by a connection: %q", source)
	}
}

// Metadata whose last entry is cut doesn't become whole by the sender's that is added.
func TestSourceBesideCutMetadata(t *testing.T) {
	bubble(t, func(t *net) {
		ran := make(chan service.Source, 1)
		t.to(t.service("s", nil).QueueBind("x"), func(ctx *flyrpc.Context) { ran <- service.SourceOf(ctx) })
		synctest.Wait()
		meta := flyrpc.AppendMeta(nil, 1<<16+1, "", "somebody\x00else")
		meta = append(meta, 99, byte(len(flyrpc.AppendMeta(nil, 1<<16+1, "", "abcd"))))
		p, err := flyrpc.AppendPacket(nil, &flyrpc.Packet{Code: "x", Payload: append(binary.AppendUvarint(nil, uint64(len(meta))), meta...)})
		t.check(err)
		p[0] |= byte(flyrpc.FlagMeta)
		data := append([]byte{0xf1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5}, make([]byte, 12)...)
		t.check(t.bus.Publish(&service.Message{Subject: "s.x", Data: service.Seal(bytes.Join([][]byte{data, []byte("\x0cmsgpack\x00abcd"), p}, nil))}))
		time.Sleep(time.Second)
		select {
		case source := <-ran:
			t.Errorf("it was handled, from %q", source)
		default:
		}
	})
}

// A message whose subject is too long together with the service's name fails, as does one to FlyRPC's own subject.
func TestSendToLongSubject(t *testing.T) {
	bubble(t, func(t *net) {
		c := t.service("caller", nil).Service("s")
		for _, subject := range []string{strings.Repeat("a", service.MaxSubject), strings.Repeat("a", service.MaxSubject-1), "_FLY"} {
			err := c.Send(t.Context(), subject, "x")
			if !errors.Is(err, flyrpc.BadRequest) || !errors.Is(err, service.ErrBadSubject) || flyrpc.Outcome(err) != flyrpc.NotSent {
				t.Errorf("%.5s: %v", subject, err)
			}
		}
		t.check(c.Send(t.Context(), strings.Repeat("a", service.MaxSubject-2), "x"))
		t.to(t.service("s", nil).Bind("x"), func() {})
		for what, err := range map[string]error{
			"request": c.Request(t.Context(), "_FLY", nil).Into(nil), "call": c.Call(t.Context(), "/_FLY", nil, nil),
			"reader": c.Send(t.Context(), "_FLY", strings.NewReader("x")),
		} {
			if !errors.Is(err, flyrpc.BadRequest) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// An empty text is a message, beside items too.
func TestIntoOfEmptyMessage(t *testing.T) {
	bubble(t, func(t *net) {
		b := t.service("s", nil).QueueBind("x")
		go func() {
			for m := range b.All(t.Context()) {
				got := "none"
				t.check(m.Reply(fmt.Sprintf("%q %v", got, m.Into(&got))))
			}
		}()
		synctest.Wait()
		got, err := flyrpc.Upload[string](t.Context(), t.service("caller", nil).Service("s"), "x", "", func(func(int) bool) {})
		if err != nil || !strings.HasSuffix(got, "<nil>") {
			t.Errorf("%s, %v", got, err)
		}
	})
}
