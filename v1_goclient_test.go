package flyrpc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

type v1User struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// TestV1GoClient has the old Go client call a server.
func TestV1GoClient(t *testing.T) {
	t.Run("a message comes with WAIT and its answer can be dropped", func(t *testing.T) {
		srv := quietServer(t, nil)
		notes := make(chan string, 1)
		srv.OnMessage("/note", func(s string) { notes <- s })
		p := v1Listen(t, srv)
		p.request(1, "/note", "hi")
		if got := within(t, notes); got != "hi" {
			t.Errorf("the handler got %q", got)
		}
		p.wantAnswer(1, "null")
		p.wantLife()
	})
	t.Run("sequences wrap from 65535 through 0", func(t *testing.T) {
		srv := quietServer(t, nil)
		p := v1Listen(t, srv)
		seq := uint16(65533)
		for range 6 {
			p.request(seq, "/alive", "5")
			p.wantAnswer(seq, "5")
			seq++
		}
	})
	t.Run("requests with sequence 0 in flight together", func(t *testing.T) { v1Twice(t, 0) })
	t.Run("a sequence repeated in flight", func(t *testing.T) { v1Twice(t, 7) })
	t.Run("an unknown path is NOT_FOUND", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		p.request(3, "/nowhere", "{}")
		p.wantError(3, "NOT_FOUND")
		p.request(4, "fly.nowhere", "{}")
		p.wantError(4, "NOT_FOUND")
		p.wantLife()
	})
	t.Run("a burst of messages with WAIT to an unknown path", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		const n = 1000
		var burst []byte
		for i := range n {
			burst = append(burst, v1Bytes(v1Wants, uint16(i), "/x", "")...)
		}
		p.write(burst)
		for i := range n {
			p.wantError(uint16(i), "NOT_FOUND")
		}
		p.wantLife()
	})
	t.Run("a length field of any width is read", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		for bits := range byte(4) {
			p.write(v1BytesWide(bits, v1Wants, 9, "/alive", "12"))
			p.wantAnswer(9, "12")
		}
	})
	t.Run("its first packet may be larger than hello", func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/size", func(b []byte) int { return len(b) })
		p := v1Listen(t, srv)
		p.request(1, "/size", strings.Repeat("x", 300_000))
		p.wantAnswer(1, "300000")
		p.wantLife()
	})
	t.Run("an oversize request is BUFF_TOO_LONG", func(t *testing.T) { v1TooLong(t, true) })
	t.Run("an oversize request comes first", func(t *testing.T) { v1TooLong(t, false) })
	t.Run("a panic is HANDLER_PANIC without its text", func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/panic", func() { panic("the secret") })
		p := v1Listen(t, srv)
		p.request(1, "/panic", "1")
		if text := p.wantError(1, "HANDLER_PANIC"); strings.Contains(text, "secret") {
			t.Errorf("the answer says %q", text)
		}
		p.wantLife()
	})
	t.Run("a handler calls the client back", func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/ask", func(ctx *Context) (n int, err error) {
			err = ctx.Call("/answer", v1User{1, "Ada"}, &n)
			return n, err
		})
		p := v1Listen(t, srv)
		p.request(1, "/ask", "null")
		seq := p.wantRequest("/answer", `{"id":1,"name":"Ada"}`)
		p.answer(seq, "", "42")
		p.wantAnswer(1, "42")
	})
}

// v1Twice sends two requests with one sequence, both in flight at once.
func v1Twice(t *testing.T, seq uint16) {
	srv := quietServer(t, nil)
	both := make(chan struct{}, 2)
	release := make(chan struct{})
	srv.OnMessage("/wait", func(s string) string {
		both <- struct{}{}
		<-release
		return s
	})
	p := v1Listen(t, srv)
	p.request(seq, "/wait", "a")
	p.request(seq, "/wait", "b")
	within(t, both)
	within(t, both)
	close(release)
	first, second := p.recv(), p.recv()
	got := []string{first.payload, second.payload}
	slices.Sort(got)
	if first.seq != seq || second.seq != seq || first.flag != v1Response || second.flag != v1Response || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v and %v", first, second)
	}
	p.wantLife()
}

// v1TooLong sends a request that is over the limit, after others or as the first one.
func v1TooLong(t *testing.T, after bool) {
	srv := quietServer(t, &ServerOpts{MaxMessage: 20_000})
	srv.OnMessage("/size", func(b []byte) int { return len(b) })
	p := v1Listen(t, srv)
	if after {
		p.wantLife()
	}
	p.request(1, "/size", strings.Repeat("x", 100_000))
	p.wantError(1, "BUFF_TOO_LONG")
	p.message("/size", strings.Repeat("x", 100_000)) // dropped
	p.request(2, "/size", strings.Repeat("x", 20_001))
	p.wantError(2, "BUFF_TOO_LONG")
	p.request(3, "/size", strings.Repeat("x", 20_000))
	p.wantAnswer(3, "20000")
}

// TestV1Bodies checks what stands in the payloads of a version 1 connection.
func TestV1Bodies(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("/bytes", func(b []byte) []byte { return append(b, 0, 0xFF) })
	srv.OnMessage("/text", func(s string) string { return s + "!" })
	srv.OnMessage("/user", func(u *v1User) *v1User { u.Name += "!"; return u })
	srv.OnMessage("/any", func(v any) any { return v })
	srv.OnMessage("/nothing", func() {})
	srv.OnMessage("/nil", func() any { return nil })
	srv.OnMessage("/nilpointer", func() *v1User { return nil })
	srv.OnMessage("/reply", func(ctx *Context) error { return ctx.Reply("", nil) })
	srv.OnMessage("/replycode", func(ctx *Context) error { return ctx.Reply("GONE", nil) })
	srv.OnMessage("/empty", func() []byte { return []byte{} })
	srv.OnMessage("/emptytext", func() string { return "" })
	p := v1Listen(t, srv)
	for i, c := range []struct{ name, path, payload, want string }{
		{"bytes are as they are", "/bytes", "\x00\"\xFE", "\x00\"\xFE\x00\xFF"},
		{"text is as it is", "/text", `"a`, `"a!`},
		{"a struct is JSON", "/user", `{"id":3,"name":"Ada"}`, `{"id":3,"name":"Ada!"}`},
		{"an empty payload is the zero value", "/user", "", `{"id":0,"name":"!"}`},
		{"null is the zero value", "/user", "null", `{"id":0,"name":"!"}`},
		{"any is decoded", "/any", `[1,"a"]`, `[1,"a"]`},
		{"no reply is null", "/nothing", "1", "null"},
		{"a nil reply is null", "/nil", "1", "null"},
		{"a nil pointer is null", "/nilpointer", "1", "null"},
		{"a reply of nil bytes is null", "/reply", "1", "null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.request(uint16(i), c.path, c.payload)
			p.wantAnswer(uint16(i), c.want)
		})
	}
	t.Run("a code without a payload gets one", func(t *testing.T) {
		p.t = t
		p.request(1, "/replycode", "1")
		p.wantError(1, "GONE")
	})
	t.Run("a pong is not empty", func(t *testing.T) {
		p.t = t
		p.request(1, "fly.ping", "")
		if got := p.recv(); got.flag != v1Response || got.seq != 1 || got.code != "" {
			t.Errorf("got %v", got)
		}
		p.request(2, "fly.ping", "abc")
		p.wantAnswer(2, "abc")
	})
	t.Run("empty bytes and text of the application stay empty", func(t *testing.T) {
		p.t = t
		p.empty = true
		p.request(1, "/empty", "1")
		p.wantAnswer(1, "")
		p.request(2, "/emptytext", "1")
		p.wantAnswer(2, "")
	})
}

// TestV1Errors checks how a handler's errors reach a version 1 client.
func TestV1Errors(t *testing.T) {
	gone := errors.New("user is gone")
	long := strings.Repeat("ä", 3000) // two bytes each: an odd offset would cut one
	for _, c := range []struct {
		name string
		err  error
		code string
	}{
		{"a plain error is its text", errors.New("no such user"), "no such user"},
		{"a zero byte is left out", errors.New("a\x00b"), "ab"},
		{"a text of zero bytes is still an error", errors.New("\x00\x00"), "ERROR"},
		{"an empty text is still an error", errors.New(""), "ERROR"},
		{"a text that is no UTF-8 is still an error", errors.New(strings.Repeat("\xFF", 5000)), "\uFFFD"},
		{"a long text is cut at 4 KiB", errors.New(long), strings.Repeat("ä", 2048)},
		{"a cut leaves no half characters", errors.New("x" + long), "x" + strings.Repeat("ä", 2047)},
		{"a wrapped plain error is its text", fmt.Errorf("find: %w", errors.New("x")), "find: x"},
		{"a Code is sent", Forbidden, "FORBIDDEN"},
		{"an Error's code is sent", Errorf(NotFound, "no user 7"), "NOT_FOUND"},
		{"an Error without a message", &Error{Code: Busy}, "BUSY"},
		{"an Error with details", Errorf(Conflict, "twice").WithDetails(v1User{1, "Ada"}), "CONFLICT"},
		{"a wrapped Error's code is sent", fmt.Errorf("find: %w", Errorf(NotFound, "no user 7")), "NOT_FOUND"},
		{"the program's own error has its code", gone, "USER_GONE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{Errors: map[Code]error{"USER_GONE": gone}})
			srv.OnMessage("/fail", func(ctx *Context) error {
				if err := ctx.SetMeta("k", "v"); err != nil {
					return err
				}
				return c.err
			})
			srv.OnMessage("/inline", func() error { return c.err }, Inline)
			p := v1Listen(t, srv)
			for i, path := range []string{"/fail", "/inline"} {
				p.request(uint16(i), path, "1")
				p.wantError(uint16(i), c.code)
			}
			if !utf8.ValidString(c.code) {
				t.Errorf("%q is no UTF-8", c.code)
			}
			p.message("/fail", "1") // not answered
			p.wantLife()
		})
	}
}
