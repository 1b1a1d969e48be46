package flyrpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Connections at the front door count for MaxConns, are told BUSY if they are too many, and make room
// when they end there; OnLostConn hears of them.
func TestMaxConnsAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		var lost atomic.Int32
		srv := quietServer(t, &ServerOpts{
			TLS: world.server, MaxConns: 2, HelloTimeout: 5 * time.Second,
			OnLostConn: func(_ net.Addr, err error) { lost.Add(1) },
		})
		srv.OnMessage("/x", func() string { return "y" })
		for range 2 {
			defer far(srv).Close() // silent
		}
		synctest.Wait()
		cli := tlsClient(t, far(srv), world.client, nil)
		if err := cli.Connect(context.Background()); !errors.Is(err, Busy) || !strings.Contains(err.Error(), "at most 2 connections") {
			t.Errorf("one too many: %v", err)
		}
		cli.Close()
		time.Sleep(6 * time.Second) // both are cut
		if n := atTheDoor(srv); n != 0 {
			t.Errorf("%d at the door", n)
		}
		if n := lost.Load(); n != 3 {
			t.Errorf("OnLostConn heard of %d, want the two silent ones and the refused one", n)
		}
		for range 2 {
			cli := connectTLS(t, far(srv), world.client, nil)
			if got, err := Call[string](context.Background(), cli, "/x", nil); got != "y" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if srv.admission.n != 2 || srv.admission.refusing != 0 {
			t.Errorf("%d admitted, %d refusing", srv.admission.n, srv.admission.refusing)
		}
	})
}

// A server that stops takes those at the door off the books.
func TestAdmissionOfEndingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		srv := quietServer(t, &ServerOpts{TLS: world.server, MaxConns: 2})
		near := far(srv)
		synctest.Wait()
		srv.Close()
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		near = far(srv)
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		synctest.Wait()
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if srv.admission.n != 0 || srv.admission.refusing != 0 {
			t.Errorf("%d admitted, %d refusing", srv.admission.n, srv.admission.refusing)
		}
	})
}

// TestLogOfUnknown: who doesn't come through the handshake can't flood the log, without TLS either.
func TestLogOfUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		srv, log := newLogServer(t, &ServerOpts{OnLostConn: func(net.Addr, error) { lost++ }})
		for range 1000 {
			w := wireTo(t, srv)
			w.write([]byte("\x16 garbage"))
			w.wantEnd()
			synctest.Wait()
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || lost != 1000 {
			t.Errorf("%d lines, %d calls of OnLostConn", n, lost)
		}
		time.Sleep(refusalPause)
		wireTo(t, srv).write([]byte("\x16 garbage"))
		synctest.Wait()
		log.want(t, "others=999")
	})
}

// askingLog asks the server for its connections while it logs.
type askingLog struct {
	slog.Handler
	srv *Server
}

func (l *askingLog) Handle(ctx context.Context, r slog.Record) error {
	r.Add("conns", len(l.srv.Conns()))
	return l.Handler.Handle(ctx, r)
}

// TestLogMayAsk: a log handler may call the server's methods.
func TestLogMayAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := new(logText)
		log := &askingLog{Handler: slog.NewTextHandler(text, nil)}
		log.srv = quietServer(t, &ServerOpts{MaxConns: 1, Logger: slog.New(log)})
		wireTo(t, log.srv).hello(plainHello)
		synctest.Wait() // hello may be answered before the connection is among those that Conns returns
		w := wireTo(t, log.srv)
		w.request(helloSequence, "fly.hello", plainHello)
		w.wantAnswer(helloSequence, Busy, "at most 1")
		wantText(t, text.String(), "connections refused", "conns=1")
	})
}
