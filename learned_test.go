package flyrpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestTaught(t *testing.T) {
	w := taught{limit: 3}
	for i, step := range []struct{ path, want string }{
		{"/a", "/a"},
		{"/b", "/b"},
		{"/a", "\x01\x02/a"},
		{"/a", "\x01\x02"},
		{"/b", "\x01\x03/b"},
		{"/a", "\x01\x02"},
		{"/b", "\x01\x03"},
		{"x", "x"}, // as long as what would stand for it
		{"x", "x"},
		{"/c", "/c"},
		{"/c", "\x01\x04/c"},
		{"/d", "/d"},
		{"/d", "/d"}, // there are no more
		{"/c", "\x01\x04"},
	} {
		if got := w.code(step.path); got != step.want {
			t.Errorf("step %d: %q is written %q, want %q", i, step.path, got, step.want)
		}
	}
	long := strings.Repeat("l", maxTaught+1)
	for range 3 {
		if got := (&taught{limit: 3}).code(long); got != long {
			t.Errorf("a long path is written %.10q", got)
		}
		if got := new(taught).code("/a"); got != "/a" {
			t.Errorf("a peer that learns nothing gets %q", got)
		}
	}
}

// TestTaughtIsLearned has one end write random paths and the other read them.
func TestTaughtIsLearned(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for limit := range maxLearned + 1 {
		var w taught
		var l learned
		w.limit = limit
		for range 2000 {
			path := fmt.Sprintf("/%d%s", r.IntN(200), strings.Repeat("x", r.IntN(260)))
			code := w.code(path)
			if code[0] != learnedMark {
				continue
			}
			got, err := l.resolve([]byte(code))
			if err != nil || string(got.path) != path {
				t.Fatalf("%q was written %q and read %v, %v", path, code, got, err)
			}
		}
		if w.bytes > maxLearnedBytes || l.bytes != w.bytes || len(l.paths) > limit {
			t.Fatalf("%d and %d bytes, %d paths of %d", w.bytes, l.bytes, len(l.paths), limit)
		}
	}
}

func TestLearnedErrors(t *testing.T) {
	part := strings.Repeat("p", 4000)
	for _, tt := range []struct {
		codes []string
		want  string
	}{
		{[]string{"\x01"}, "no id"},
		{[]string{"\x01\x01/a"}, "no id"},
		{[]string{"\x01\x80/a"}, "no id"},
		{[]string{"\x01\x02"}, "02 was not taught"},
		{[]string{"\x01\x05/a", "\x01\x04"}, "04 was not taught"},
		{[]string{"\x01\x02\x01\x03"}, "no path begins so"},
		{[]string{"\x01\x02" + part, "\x01\x03" + part, "\x01\x04" + part, "\x01\x05" + part, "\x01\x02" + part, "\x01\x06" + part}, "more than 16384 bytes"},
	} {
		var l learned
		for i, code := range tt.codes {
			_, err := l.resolve([]byte(code))
			if last := i == len(tt.codes)-1; last && (err == nil || !strings.Contains(err.Error(), tt.want)) || !last && err != nil {
				t.Errorf("%.10q: %v, want %q", code, err, tt.want)
			}
		}
	}
}

func FuzzLearned(f *testing.F) {
	f.Add([]byte("\x01\x02/a\x00\x01\x02\x00\x01\x02/b\x00\x01\x7f/c\x00\x01\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l learned
		for _, code := range strings.Split(string(data), "\x00") {
			p, err := l.resolve([]byte(code))
			if err != nil {
				return // the connection closes
			}
			if len(code) > 2 && string(p.path) != code[2:] {
				t.Fatalf("%q teaches %q", code, p.path)
			}
			sum := 0
			for _, p := range l.paths {
				if p != nil {
					sum += len(p.path)
				}
			}
			if sum != l.bytes || sum > maxLearnedBytes || len(l.paths) > maxLearned {
				t.Fatalf("%d paths of %d bytes, counted are %d", len(l.paths), sum, l.bytes)
			}
		}
	})
}

// TestLearnedOnTheWire looks at what two ends write in both directions.
func TestLearnedOnTheWire(t *testing.T) {
	var mu sync.Mutex
	raw, cooked := map[*Conn][]string{}, map[*Conn][]string{}
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		register(srv)
		register(cli)
	})
	for _, c := range []*Conn{p.sc, p.cc} {
		note := func(to map[*Conn][]string) func(*Packet) bool {
			return func(pkt *Packet) bool {
				if pkt.Flag&FlagResponse == 0 {
					mu.Lock()
					defer mu.Unlock()
					to[c] = append(to[c], pkt.Code)
				}
				return false
			}
		}
		c.OnRawPacket(note(raw))
		c.OnPacket(note(cooked))
	}
	for range 4 {
		p.echo(t, p.cc, "x")
		p.echo(t, p.sc, "x")
	}
	for _, c := range []*Conn{p.sc, p.cc} {
		c.OnRawPacket(nil)
		c.OnPacket(nil)
		mu.Lock()
		if got := strings.Join(raw[c], " "); got != "/echo \x01\x02/echo \x01\x02 \x01\x02" {
			t.Errorf("on the wire stands %q", got)
		}
		if got := strings.Join(cooked[c], " "); got != "/echo /echo /echo /echo" {
			t.Errorf("OnPacket sees %q", got)
		}
		mu.Unlock()
	}
}

// TestLearnedRoutes has learned codes lead to routes with params, and to one that is
// registered only when its path has been learned.
func TestLearnedRoutes(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) {
		srv.OnMessage("/user/{id}", func(ctx *Context) string { return ctx.Param("id") + " of " + ctx.Path() })
	})
	ctx := bounded(t)
	for i := range 6 {
		for _, id := range []string{"7", "8"} {
			got, err := Call[string](ctx, p.cli, "/user/"+id, nil)
			if err != nil || got != id+" of /user/"+id {
				t.Fatalf("%q, %v", got, err)
			}
		}
		got, err := Call[string](ctx, p.cli, "/later", nil)
		if i < 3 {
			wantFailed(t, err, NotFound, NotProcessed)
		} else if err != nil || got != "now" {
			t.Fatalf("%q, %v", got, err)
		}
		if i == 2 {
			p.srv.OnMessage("/later", func() string { return "now" })
		}
	}
}

// learningHello is the hello of a peer that learns nothing and teaches.
const learningHello = `{"flyrpc":2,"serializers":["json"],"codes":0,"frame":1000000}`

// TestLearnedFromPeer has a peer teach by requests, messages and packets that are refused, and
// replace what it has taught.
func TestLearnedFromPeer(t *testing.T) {
	srv, _ := newLogServer(t, &ServerOpts{MaxFrame: 1000})
	srv.OnMessage("/a", func() string { return "a" })
	srv.OnMessage("/b", func() string { return "b" })
	p := rawClient(t, srv, learningHello)
	ask := func(seq uint16, code, want string) {
		t.Helper()
		p.send(rawRequest(seq, code, ""))
		a := p.recv()
		if got := a.Code + string(a.Payload); a.Sequence != seq || got != want {
			t.Errorf("%q is answered %d %q, want %q", code, a.Sequence, got, want)
		}
	}
	ask(1, "\x01\x02/a", "a")
	ask(2, "\x01\x02", "a")
	p.send(Packet{Code: "\x01\x7f/b"})
	ask(3, "\x01\x7f", "b")
	ask(4, "\x01\x02/b", "b")
	ask(5, "\x01\x02", "b")
	ask(6, "\x01\x03/nowhere", `NOT_FOUNDno handler for "/nowhere"`)
	ask(7, "\x01\x03", `NOT_FOUNDno handler for "/nowhere"`)
	p.send(rawRequest(8, "\x01\x04/a", strings.Repeat("x", 2000)))
	if a := p.recv(); a.Code != string(TooLong) {
		t.Errorf("%+v", a)
	}
	ask(9, "\x01\x04", "a")
	ask(10, "\x01\x05fly.ping", "")
	ask(11, "\x01\x05", "")
}

func TestLearnedCloses(t *testing.T) {
	for _, code := range []string{"\x01", "\x01\x02", "\x01\x80/a", "\x01\x02\x01\x02"} {
		srv, log := newLogServer(t, nil)
		srv.OnMessage("/a", func() {})
		p := rawClient(t, srv, learningHello)
		p.send(rawRequest(1, code, ""))
		p.wantClosed()
		log.want(t, "learned code")
	}
}

// TestLearnedNotByVersion1 has a version 1 peer use a path that begins like a learned code.
func TestLearnedNotByVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/a", func() {})
		w := wireTo(t, srv)
		w.request(1, "/a", "null")
		w.wantAnswer(1, "", "null")
		w.request(2, "\x01\x02/a", "null")
		if p := w.recv(); p.Code != string(NotFound) {
			t.Errorf("%+v", p)
		}
	})
}

// TestLearnedConcurrently has many callers teach the same and other paths.
func TestLearnedConcurrently(t *testing.T) {
	p := newTCPPair(t, func(srv *Server, _ *Client) {
		srv.OnMessage("/{n}", func(ctx *Context) string { return ctx.Param("n") })
	})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 200 {
				want := fmt.Sprint((i * j) % 150)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				got, err := Call[string](ctx, p.cli, "/"+want, nil)
				cancel()
				if err != nil || got != want {
					t.Errorf("/%s: %q, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
