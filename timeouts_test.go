package flyrpc

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// glance is one look of a timer, and what it is to say.
type glance struct {
	s    sight
	want finding
	due  time.Duration
}

// checkGlances has t look again and again.
func checkGlances(t *testing.T, to timeouts, list []glance) {
	t.Helper()
	for i, g := range list {
		if got := to.look(&g.s); got != g.want || got <= askPeer && to.due != g.due {
			t.Fatalf("look %d, at %v: finding %d, next at %v; want %d, %v", i, g.s.now, got, to.due, g.want, g.due)
		}
	}
}

// sec is n seconds.
func sec(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// TestTimeoutsKeepalive: a ping is due after a silence, and the end after another one. What comes counts, whatever
// it is a part of.
func TestTimeoutsKeepalive(t *testing.T) {
	to := timeouts{read: sec(30), ping: sec(30), interval: sec(10)}
	checkGlances(t, to, []glance{
		{sight{now: sec(1)}, allWell, sec(30)},
		{sight{now: sec(30), read: sec(12)}, allWell, sec(42)},
		{sight{now: sec(42), read: sec(12)}, askPeer, sec(52)},
		{sight{now: sec(50), read: sec(12)}, allWell, sec(52)},
		{sight{now: sec(52), read: sec(42)}, allWell, sec(72)}, // in the same moment as the ping
		{sight{now: sec(72), read: sec(42)}, askPeer, sec(82)},
		{sight{now: sec(82), read: sec(42), bulk: 1}, allWell, sec(112)},
		{sight{now: sec(112), read: sec(42), bulk: 1}, askPeer, sec(122)},
		{sight{now: sec(122), read: sec(42), bulk: 1}, isDead, 0},
	})
}

// TestTimeoutsShortSilence: pings come after each silence, though the other end may take longer than that to answer.
func TestTimeoutsShortSilence(t *testing.T) {
	checkGlances(t, timeouts{read: sec(30), ping: sec(2), interval: sec(5)}, []glance{
		{sight{now: sec(2)}, askPeer, sec(4)},
		{sight{now: sec(4)}, allWell, sec(6)},
		{sight{now: sec(6), read: sec(5)}, allWell, sec(7)},
		{sight{now: sec(7), read: sec(5)}, askPeer, sec(9)},
		{sight{now: sec(9), read: sec(5)}, allWell, sec(11)},
		{sight{now: sec(11), read: sec(5)}, allWell, sec(12)},
		{sight{now: sec(12), read: sec(5)}, isDead, 0},
	})
}

// TestTimeoutsWhenStalled: while the process doesn't run, as when it is stopped, nobody reads what has come.
func TestTimeoutsWhenStalled(t *testing.T) {
	to := timeouts{read: sec(30), ping: sec(30), interval: sec(10)}
	checkGlances(t, to, []glance{
		{sight{now: sec(30)}, askPeer, sec(40)},
		{sight{now: sec(1000)}, allWell, sec(1010)}, // instead of at 40: the answer may have come and not been read
		{sight{now: sec(1010)}, isDead, 0},
	})
	checkGlances(t, to, []glance{
		{sight{now: sec(30)}, askPeer, sec(40)},
		{sight{now: sec(1000), read: sec(31)}, askPeer, sec(1010)}, // it was answered, and silent since
		{sight{now: sec(1005), read: sec(1001)}, allWell, sec(1031)},
	})
	checkGlances(t, timeouts{read: sec(30)}, []glance{
		{sight{now: sec(100), amid: 1}, allWell, sec(107.5)},
		{sight{now: sec(500), amid: 1}, allWell, sec(507.5)},
		{sight{now: sec(507.5), amid: 1}, allWell, sec(515)},
		{sight{now: sec(515), amid: 1}, allWell, sec(522.5)},
		{sight{now: sec(522.5), amid: 1}, allWell, sec(530)},
		{sight{now: sec(530), amid: 1}, isSlow, 0},
	})
}

// TestTimeoutsRead: each packet has its own time, and each 16 KiB of a large one.
func TestTimeoutsRead(t *testing.T) {
	to := timeouts{read: sec(8)}
	checkGlances(t, to, []glance{
		{sight{now: sec(1)}, allWell, 0},
		{sight{now: sec(10), amid: 1}, allWell, sec(12)},
		{sight{now: sec(12), amid: 3}, allWell, sec(14)}, // another packet
		{sight{now: sec(14), amid: 3}, allWell, sec(16)},
		{sight{now: sec(16), amid: 4}, allWell, 0}, // it has come
		{sight{now: sec(99), amid: 5}, allWell, sec(101)},
		{sight{now: sec(101), amid: 5, bulk: readPart - 1}, allWell, sec(103)},
		{sight{now: sec(103), amid: 5, bulk: readPart}, allWell, sec(105)}, // from here on again
		{sight{now: sec(105), amid: 5, bulk: 2*readPart - 1}, allWell, sec(107)},
		{sight{now: sec(107), amid: 5, bulk: 2*readPart - 1}, allWell, sec(109)},
		{sight{now: sec(109), amid: 5, bulk: 2*readPart - 1}, allWell, sec(111)},
		{sight{now: sec(111), amid: 5, bulk: 2*readPart - 1}, isSlow, 0},
	})
	at := sight{now: sec(10), amid: 7}
	to.await(&at)
	if to.due != sec(12) {
		t.Errorf("a packet that begins at 10 is looked at at %v", to.due)
	}
	checkGlances(t, to, []glance{
		{sight{now: sec(12), amid: 7}, allWell, sec(14)},
		{sight{now: sec(14), amid: 7}, allWell, sec(16)},
		{sight{now: sec(16), amid: 7}, allWell, sec(18)},
		{sight{now: sec(18), amid: 7}, isSlow, 0},
	})
}

// TestTimeoutsIdle: it ends when nothing has happened and nothing is open.
func TestTimeoutsIdle(t *testing.T) {
	checkGlances(t, timeouts{idle: sec(8)}, []glance{
		{sight{now: sec(2)}, allWell, sec(4)},
		{sight{now: sec(4), busy: true}, allWell, sec(6)},
		{sight{now: sec(6), busy: true}, allWell, sec(8)},
		{sight{now: sec(8)}, allWell, sec(10)},
		{sight{now: sec(10), work: 1}, allWell, sec(12)},
		{sight{now: sec(12), work: 1}, allWell, sec(14)},
		{sight{now: sec(14), work: 1}, allWell, sec(16)},
		{sight{now: sec(16), work: 1}, allWell, sec(18)},
		{sight{now: sec(18), work: 1}, isIdle, 0},
	})
}

// TestTimeoutsAge: age counts, whatever happens.
func TestTimeoutsAge(t *testing.T) {
	checkGlances(t, timeouts{age: sec(8)}, []glance{
		{sight{now: sec(2), busy: true}, allWell, sec(8)},
		{sight{now: sec(8), busy: true}, isOld, 0},
	})
}

// TestTimeoutsOfLeaving: what ends a connection in order is said once, and at once the rest is looked for on: silence and slow packets.
func TestTimeoutsOfLeaving(t *testing.T) {
	for name, to := range map[string]timeouts{
		"isOld": {age: sec(8), read: sec(8), ping: sec(6), interval: sec(2)}, "isIdle": {idle: sec(8), read: sec(8), ping: sec(6), interval: sec(2)},
	} {
		why := map[string]finding{"isOld": isOld, "isIdle": isIdle}[name]
		if found := to.look(&sight{now: sec(8), read: sec(7)}); found != why || to.due != sec(8) {
			t.Fatalf("%s: finding %d, next at %v", name, found, to.due)
		}
		silent := to
		checkGlances(t, silent, []glance{
			{sight{now: sec(8), read: sec(7)}, allWell, sec(13)},
			{sight{now: sec(13), read: sec(7)}, askPeer, sec(15)},
			{sight{now: sec(14), read: sec(14)}, allWell, sec(20)},
			{sight{now: sec(20), read: sec(14)}, askPeer, sec(22)},
			{sight{now: sec(22), read: sec(14)}, isDead, 0},
		})
		slow := to
		slow.ping = 0
		checkGlances(t, slow, []glance{
			{sight{now: sec(8), read: sec(7)}, allWell, 0},
			{sight{now: sec(9), amid: 1}, allWell, sec(11)},
			{sight{now: sec(11), amid: 1}, allWell, sec(13)},
			{sight{now: sec(13), amid: 1}, allWell, sec(15)},
			{sight{now: sec(15), amid: 1}, allWell, sec(17)},
			{sight{now: sec(17), amid: 1}, isSlow, 0},
		})
	}
}

// TestTimeoutsForEver: the longest durations there are mean for ever, and not the past.
func TestTimeoutsForEver(t *testing.T) {
	const most = math.MaxInt64
	for name, so := range map[string]*ServerOpts{
		"KeepaliveTime":     {KeepaliveTime: most},
		"KeepaliveInterval": {KeepaliveInterval: most},
		"IdleTimeout":       {IdleTimeout: most},
		"MaxConnAge":        {MaxConnAge: most},
		"ReadTimeout":       {ReadTimeout: most},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := newLogServer(t, so)
				w := wireTo(t, srv)
				time.Sleep(time.Second)
				keepalive := w.hello(plainHello)["keepalive"]
				if ms, ok := keepalive.(float64); !ok || ms <= 0 {
					t.Errorf("hello says keepalive is %v", keepalive)
				}
				if name == "ReadTimeout" {
					w.write([]byte{0x80}) // a part of a packet
				}
				for begin := time.Now(); time.Since(begin) < time.Hour; {
					switch p, err := w.next(); {
					case err != nil && !isTimeout(err):
						t.Fatalf("ended after %v: %v", time.Since(begin), err)
					case err == nil && (p.Code != "fly.ping" || name == "KeepaliveTime"):
						t.Fatalf("after %v: %+v (%q)", time.Since(begin), p, p.Payload)
					case err == nil && name != "ReadTimeout" && name != "KeepaliveInterval":
						w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence})
					case err == nil && name == "ReadTimeout":
						return // an answer would end the packet
					}
				}
			})
		})
	}
}
