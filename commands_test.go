package flyrpc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lineEnd is one end of a connection that speaks in lines.
type lineEnd struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func newLineEnd(t testing.TB, conn net.Conn) *lineEnd {
	t.Cleanup(func() { conn.Close() })
	return &lineEnd{t: t, conn: conn, in: bufio.NewReaderSize(conn, 1<<20)}
}

// lineTo returns the client's end of a connection that srv serves.
func lineTo(t testing.TB, srv *Server) *lineEnd { return newLineEnd(t, servePipe(srv)) }

// send writes lines.
func (l *lineEnd) send(lines ...string) {
	l.t.Helper()
	if _, err := io.WriteString(l.conn, strings.Join(lines, "\n")+"\n"); err != nil {
		l.t.Fatalf("write: %v", err)
	}
}

// next returns the next line, or why there is none. It waits for a minute at most.
func (l *lineEnd) next() (string, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	line, err := l.in.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// want reads as many lines as there are in want, in any order.
func (l *lineEnd) want(want ...string) {
	l.t.Helper()
	var got []string
	for range want {
		line, err := l.next()
		if err != nil {
			l.t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, line)
	}
	slices.Sort(got)
	slices.Sort(want)
	for i := range want {
		if got[i] != want[i] {
			l.t.Fatalf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// wantEnd reads the end of the connection.
func (l *lineEnd) wantEnd() {
	l.t.Helper()
	if line, err := l.next(); err != io.EOF {
		l.t.Fatalf("got %q, %v, want the end of the connection", line, err)
	}
}

// command reads a command.
func (l *lineEnd) command() (cmd struct {
	Action, Key string
	Body        json.RawMessage
},
) {
	l.t.Helper()
	line, err := l.next()
	if err == nil {
		err = json.Unmarshal([]byte(line), &cmd)
	}
	if err != nil {
		l.t.Fatalf("%q: %v", line, err)
	}
	return cmd
}

// commandServer is a server with handlers of many kinds.
func commandServer(t testing.TB, opts *ServerOpts) *Server {
	srv := quietServer(t, opts)
	type user struct {
		ID   int
		Name string `json:",omitempty"`
	}
	srv.OnMessage("/user/get", func(u *user) (*user, error) {
		if u.ID == 0 {
			return nil, Errorf(BadRequest, "id is required").WithDetails(map[string]int{"least": 1})
		}
		return &user{u.ID, "Ada"}, nil
	})
	srv.OnMessage("text", func(s string) string { return "<" + s + ">" })
	srv.OnMessage("bytes", func(b []byte) []byte { return append(b, 0xFF) })
	srv.OnMessage("any", func(v any) any { return v })
	srv.OnMessage("nothing", func() {})
	srv.OnMessage("fails", func() error { return errors.New("out of order") })
	srv.OnMessage("panics", func() { panic("secret") })
	srv.OnMessage("code", func() error { return NotFound })
	srv.OnMessage("items", func() iter.Seq2[int, error] { return func(func(int, error) bool) {} })
	srv.OnMessage("takes", func(io.Reader) error { return nil })
	return srv
}

func TestCommands(t *testing.T) {
	for name, tc := range map[string]struct{ send, want string }{
		"call":        {`{"action":"/user/get","key":"1","body":{"ID":7}}`, `{"action":"drs.response","key":"1","body":{"ID":7,"Name":"Ada"}}`},
		"members":     {` {"x":[{}],"body":{"ID":7},"version":0, "key":"a\u0062","action":"/user/get"}` + "\r", `{"action":"drs.response","key":"a\u0062","body":{"ID":7,"Name":"Ada"}}`},
		"no key":      {`{"action":"nothing"}`, `{"action":"drs.response","body":null}`},
		"null key":    {`{"action":"nothing","key":null,"body":null}`, `{"action":"drs.response","body":null}`},
		"empty key":   {`{"action":"nothing","key":""}`, `{"action":"drs.response","key":"","body":null}`},
		"number":      {`{"action":"nothing","key":1.50}`, `{"action":"drs.response","key":1.50,"body":null}`},
		"object":      {`{"action":"nothing","key":{"a": [1]}}`, `{"action":"drs.response","key":{"a": [1]},"body":null}`},
		"text":        {`{"action":"text","key":"1","body":"a\"\u00e9"}`, `{"action":"drs.response","key":"1","body":"\u003ca\"é\u003e"}`},
		"bytes":       {`{"action":"bytes","key":"1","body":"AQI="}`, `{"action":"drs.response","key":"1","body":"AQL/"}`},
		"any":         {`{"action":"any","key":"1","body":[1,"a",null]}`, `{"action":"drs.response","key":"1","body":[1,"a",null]}`},
		"error":       {`{"action":"/user/get","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"id is required","kind":"BAD_REQUEST","details":{"least":1}}}`},
		"code":        {`{"action":"code","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"NOT_FOUND","kind":"NOT_FOUND"}}`},
		"exception":   {`{"action":"fails","key":"1"}`, `{"action":"drs.exception","key":"1","body":{"message":"out of order","kind":"ERROR"}}`},
		"panic":       {`{"action":"panics","key":"1"}`, `{"action":"drs.exception","key":"1","body":{"message":"the handler panicked","kind":"HANDLER_PANIC"}}`},
		"no route":    {`{"action":"x","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"no handler for \"x\"","kind":"NOT_FOUND","processed":false}}`},
		"reserved":    {`{"action":"fly.bye","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"no handler for \"fly.bye\"","kind":"NOT_FOUND","processed":false}}`},
		"fly.ping":    {`{"action":"fly.ping","key":"1","body":[1]}`, `{"action":"drs.response","key":"1","body":[1]}`},
		"wrong body":  {`{"action":"text","key":"1","body":[]}`, `{"action":"drs.error","key":"1","body":{"message":"2 bytes of json are no string: json: cannot decode into *string: ReadString: expects \" or n, but found [, error found in #1 byte of ...|[]|..., bigger context ...|[]|...","kind":"BAD_REQUEST"}}`},
		"streams":     {`{"action":"items","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"\"items\" answers with items: a peer that speaks JSON commands can't take them","kind":"BAD_REQUEST","processed":false}}`},
		"takes":       {`{"action":"takes","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"\"takes\" takes items: a peer that speaks JSON commands can't send them","kind":"BAD_REQUEST","processed":false}}`},
		"no action":   {`{"key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"the command has no \"action\", which says what is called","kind":"BAD_REQUEST","processed":false}}`},
		"no text":     {`{"action":7,"key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"a command is an object {\"action\": text, \"key\": text, \"body\": anything}; here action is the number","kind":"BAD_REQUEST","processed":false}}`},
		"no object":   {`[1]`, `{"action":"drs.error","body":{"message":"a command is an object {\"action\": text, \"key\": text, \"body\": anything}; here is the array","kind":"BAD_REQUEST","processed":false}}`},
		"no JSON":     {`{"action":`, `{"action":"drs.error","body":{"message":"the command is no JSON: unexpected end of JSON input","kind":"BAD_REQUEST","processed":false}}`},
		"zero byte":   {`{"action":"a\u0000","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"flyrpc: code \"a\\x00\" has a zero byte, which ends a code on the wire","kind":"BAD_REQUEST","processed":false}}`},
		"learned":     {`{"action":"\u0001a","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"the action \"\\x01a\" begins with byte 1, and no path begins so","kind":"BAD_REQUEST","processed":false}}`},
		"long key":    {`{"action":"nothing","key":"` + strings.Repeat("k", 257) + `"}`, `{"action":"drs.error","body":{"message":"the key has more than 256 bytes","kind":"BAD_REQUEST","processed":false}}`},
		"longest key": {`{"action":"nothing","key":"` + strings.Repeat("k", 256) + `"}`, `{"action":"drs.response","key":"` + strings.Repeat("k", 256) + `","body":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := lineTo(t, commandServer(t, nil))
				end.send(`{"action":"nothing","key":"first"}`, tc.send, `{"action":"nothing","key":"last"}`)
				end.want(`{"action":"drs.response","key":"first","body":null}`, tc.want, `{"action":"drs.response","key":"last","body":null}`)
			})
		})
	}
}

// What nc -N does: it sends a line, ends what it sends, and prints what comes.
func TestCommandsHalfClose(t *testing.T) {
	srv := commandServer(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	for _, newline := range []string{"\n", ""} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, `{"action":"/user/get","key":"1","body":{"ID":7}}%s`, newline)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		if want := `{"action":"drs.response","key":"1","body":{"ID":7,"Name":"Ada"}}` + "\n"; string(got) != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestCommandsOpenKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		release := make(chan struct{})
		srv.OnMessage("wait", func() string { <-release; return "done" })
		end := lineTo(t, srv)
		end.send(`{"action":"wait","key":"k"}`, `{"action":"wait","key":"\u006b"}`, `{"action":"wait","key":""}`, `{"action":"wait","key":""}`, `{"action":"wait"}`)
		end.want(`{"action":"drs.error","key":"\u006b","body":{"message":"a command with the key \"\\u006b\" is open already","kind":"CONFLICT","processed":false}}`)
		close(release)
		end.want(`{"action":"drs.response","key":"k","body":"done"}`, `{"action":"drs.response","key":"","body":"done"}`,
			`{"action":"drs.response","key":"","body":"done"}`, `{"action":"drs.response","body":"done"}`)
		end.send(`{"action":"wait","key":"k"}`)
		end.want(`{"action":"drs.response","key":"k","body":"done"}`)
	})
}

func TestCommandsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := lineTo(t, commandServer(t, nil))
		end.send(`{"action":"drs.ping","key":"p","body":{}}`)
		end.want(fmt.Sprintf(`{"action":"drs.response","key":"p","body":%d}`, time.Now().UnixMilli()))
	})
}
