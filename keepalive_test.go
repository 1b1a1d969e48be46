package flyrpc

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestKeepaliveFindsTheDead: an end that vanishes is found after KeepaliveTime and KeepaliveInterval, not before, whichever
// end it is, and open calls have an unknown outcome.
func TestKeepaliveFindsTheDead(t *testing.T) {
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const silence, interval = 20 * time.Second, 7 * time.Second
			p := newPair(t, &ServerOpts{KeepaliveTime: silence, KeepaliveInterval: interval},
				&ClientOpts{KeepaliveTime: time.Second, KeepaliveInterval: interval}, func(srv *Server, cli *Client) {
					srv.OnMessage("/wait", func(ctx *Context) error { <-ctx.Done(); return ctx.Err() })
				})
			var calls []*Pending
			if open {
				calls = append(calls, p.cc.Go(t.Context(), "/wait", nil, nil))
			}
			synctest.Wait()
			p.up.SetPartition(true)
			p.down.SetPartition(true)
			time.Sleep(silence + interval - 1)
			for _, c := range []*Conn{p.cc, p.sc} {
				if err := c.Err(); err != nil {
					t.Fatal("found too early:", err)
				}
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			for _, c := range []*Conn{p.cc, p.sc} {
				if c.Err() == nil {
					t.Fatal("not found")
				}
				wantText(t, c.Err().Error(), "UNAVAILABLE", "dead", "20s", "7s")
				wantFailed(t, c.Call(t.Context(), "/x", nil, nil), Unavailable, NotSent)
			}
			for _, call := range calls {
				wantFailed(t, call.Err(), Unavailable, Unknown)
			}
			p.log.want(t, "level=WARN")
		})
	}
}

// TestKeepaliveKeepsTheLiving: ends that are silent for days and answer pings stay connected, and each ping is measured.
func TestKeepaliveKeepsTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/hi", func() string { return "hi" })
		})
		p.up.SetDelay(3 * time.Second)
		p.down.SetDelay(4 * time.Second)
		time.Sleep(100 * time.Hour)
		if text, err := Call[string](t.Context(), p.cli, "/hi", nil); err != nil || text != "hi" {
			t.Error(text, err)
		}
		if p.cc.RTT() != 7*time.Second && p.sc.RTT() != 7*time.Second {
			t.Errorf("the last pings took %v and %v", p.cc.RTT(), p.sc.RTT())
		}
		time.Sleep(time.Minute)
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
		if n := max(len(p.cc.calls.slots), len(p.sc.calls.slots)); n > 3 {
			t.Errorf("pings have taken %d slots", n)
		}
	})
}

// TestRTT: Ping sets it, and keepalive does.
func TestRTT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, _ := rawServer(t, &ClientOpts{KeepaliveTime: 10 * time.Second}, jsonAnswer(4))
		conn := cli.Conn()
		if conn.RTT() != 0 {
			t.Errorf("%v before any ping", conn.RTT())
		}
		for i, pause := range []time.Duration{time.Second, 2 * time.Second} {
			if i == 1 {
				go conn.Ping(1, 0)
			}
			q := peer.recv()
			time.Sleep(pause)
			peer.send(rawAnswer(q.Sequence, ""))
			synctest.Wait()
			if conn.RTT() != pause {
				t.Errorf("%v after %v", conn.RTT(), pause)
			}
		}
	})
}

// TestKeepaliveOnTheWire: a ping comes after the larger of both ends' KeepaliveTime, counted from the last byte, and any byte in
// time is an answer.
func TestKeepaliveOnTheWire(t *testing.T) {
	for _, c := range []struct {
		own   time.Duration
		hello string
		want  time.Duration
	}{
		{0, "", DefaultKeepaliveTime},
		{0, `,"keepalive":0`, DefaultKeepaliveTime},
		{0, `,"keepalive":null`, DefaultKeepaliveTime},
		{0, `,"keepalive":-5`, DefaultKeepaliveTime},
		{0, `,"keepalive":29999`, DefaultKeepaliveTime},
		{0, `,"keepalive":30001`, 30001 * time.Millisecond},
		{time.Second, `,"keepalive":4000`, 4 * time.Second},
		{time.Second, `,"keepalive":3600000`, time.Hour},
		{time.Second, `,"keepalive":3600001`, time.Hour},
		{time.Second, `,"keepalive":1e300`, time.Hour},
		{2 * time.Hour, `,"keepalive":1e300`, 2 * time.Hour},
	} {
		t.Run(fmt.Sprint(c.own, c.hello), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := newLogServer(t, &ServerOpts{KeepaliveTime: c.own, ReadTimeout: 1000 * time.Hour})
				peer := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"]`+c.hello+`}`)
				last := time.Now()
				for _, answer := range [][]byte{
					{0x80, 0x12, 0x34, 0, 0},     // nobody waits for it
					{0x80}, {0x12}, {0x34, 0, 0}, // in parts
				} {
					q := readPacket(t, peer)
					if q.Code != "fly.ping" || q.Flag != FlagWait || q.Sequence == 0 || time.Since(last) != c.want {
						t.Fatalf("%+v after %v", q, time.Since(last))
					}
					time.Sleep(DefaultKeepaliveInterval - 1)
					if _, err := peer.conn.Write(answer); err != nil {
						t.Fatal(err)
					}
					last = time.Now()
				}
				if q := readPacket(t, peer); q.Code != "fly.ping" {
					t.Fatalf("%+v", q)
				}
				peer.wantClosed()
				if d := time.Since(last); d != c.want+DefaultKeepaliveInterval {
					t.Errorf("closed after %v", d)
				}
			})
		})
	}
}

// readPacket reads a packet however long it takes.
func readPacket(t *testing.T, p *rawPeer) Packet {
	t.Helper()
	_ = p.conn.SetReadDeadline(time.Time{})
	for {
		pkt, n, err := ParsePacket(p.buf, 1<<20)
		if err == nil {
			p.buf = p.buf[n:]
			return pkt
		}
		b := make([]byte, 1000)
		if n, err = p.conn.Read(b); err != nil {
			t.Fatal(err)
		}
		p.buf = append(p.buf, b[:n]...)
	}
}

// TestKeepaliveOff: an end without keepalive says so by saying nothing, never pings and answers pings; version 1 peers
// are never pinged.
func TestKeepaliveOff(t *testing.T) {
	quiet := func(t *testing.T, conn *transport.MemConn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Hour))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
			t.Errorf("%d bytes came, %v", n, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{KeepaliveTime: -1})
		w := wireTo(t, srv)
		if h := w.hello(`{"flyrpc":2,"serializers":["json"],"keepalive":1000}`); h["keepalive"] != nil {
			t.Errorf("hello says keepalive is %v", h["keepalive"])
		}
		quiet(t, w.conn.(*transport.MemConn))
		w.request(1, "fly.ping", "x")
		w.wantAnswer(1, "", "x")
	})
	synctest.Test(t, func(t *testing.T) { // version 1, by its first packet
		srv := quietServer(t, nil)
		srv.OnMessage("/x", func() string { return "y" })
		w := wireTo(t, srv)
		w.request(1, "/x", "null")
		w.wantAnswer(1, "", "y")
		quiet(t, w.conn.(*transport.MemConn))
	})
	synctest.Test(t, func(t *testing.T) { // and the client of a version 1 server
		cli, w := clientWire(t, &ClientOpts{NoHello: true})
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		quiet(t, w.conn.(*transport.MemConn))
	})
}

// isTimeout reports whether a read has met its deadline.
func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// TestKeepaliveOverSockets: over TCP, where a lone caller reads its answers itself, keepalive pings when it pauses.
func TestKeepaliveOverSockets(t *testing.T) {
	p := new(pair)
	up, down := tcpPair(t)
	opts := &ClientOpts{KeepaliveTime: 20 * time.Millisecond}
	p.connect(t, up, down, &ServerOpts{KeepaliveTime: time.Millisecond}, opts, func(srv *Server, cli *Client) {
		srv.OnMessage("/hi", func() string { return "hi" })
	})
	for range 3 {
		for range 3 * loneAfter {
			if err := p.cc.Call(t.Context(), "/hi", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.cc.calls.rtt.Store(0)
		p.sc.calls.rtt.Store(0)
		if !eventually(func() bool { return p.cc.RTT()+p.sc.RTT() > 0 }) {
			t.Fatal("there is no ping")
		}
	}
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestSlowTransferIsAlive: bytes of one large packet count as life, though the answer to the ping waits behind them.
func TestSlowTransferIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence, interval = 4 * time.Second, 2 * time.Second
		peer, cli, _ := rawServer(t, &ClientOpts{KeepaliveTime: silence, KeepaliveInterval: interval, ReadTimeout: time.Hour}, jsonAnswer(4))
		var got []byte
		call := cli.Go(t.Context(), "/x", nil, &got)
		q := peer.recv()
		b, err := AppendPacket(nil, &Packet{
			Flag: FlagResponse, Sequence: q.Sequence, Meta: AppendMeta(nil, MetaSerializer, "", rawBytes), Payload: make([]byte, 60<<10),
		})
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			n := min(50, len(b))
			if _, err := peer.conn.Write(b[:n]); err != nil {
				t.Fatalf("with %d bytes to go: %v", len(b), err)
			}
			b = b[n:]
			time.Sleep(interval - time.Millisecond)
		}
		if err := call.Err(); err != nil || len(got) != 60<<10 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestDeadAmidTransfer: who vanishes amid a large packet is found too, a quarter of KeepaliveTime or ReadTimeout later at most.
func TestDeadAmidTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence, interval = 20 * time.Second, 5 * time.Second
		srv, _ := newLogServer(t, &ServerOpts{KeepaliveTime: silence, KeepaliveInterval: interval, ReadTimeout: time.Minute})
		peer := rawClient(t, srv, textHello)
		b, _ := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 1, Code: "/x", Payload: make([]byte, 60<<10)})
		last := time.Now()
		for part := b[:40<<10]; len(part) > 0; part = part[1<<10:] {
			time.Sleep(time.Second)
			if _, err := peer.conn.Write(part[:1<<10]); err != nil {
				t.Fatal(err)
			}
			last = time.Now()
		}
		readPacket(t, peer)
		peer.wantClosed()
		if d := time.Since(last); d < silence+interval || d > silence+interval+15*time.Second {
			t.Errorf("found after %v", d)
		}
	})
}

// TestKeepaliveBesidesPings: when all pings are in flight, they do.
func TestKeepaliveBesidesPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, _ := rawServer(t, &ClientOpts{KeepaliveTime: time.Minute, KeepaliveInterval: time.Second}, jsonAnswer(4))
		begin := time.Now()
		for range maxPings {
			go cli.Conn().Ping(0, 0)
		}
		for range maxPings {
			peer.recv()
		}
		synctest.Wait()
		<-cli.Conn().Done()
		if d := time.Since(begin); d != time.Minute+time.Second {
			t.Errorf("found after %v", d)
		}
	})
}
