package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// lineConnTo returns the client's end of a connection, and the server's, that has served a command.
func lineConnTo(t testing.TB, srv *Server) (*lineEnd, *Conn) {
	t.Helper()
	end := lineTo(t, srv)
	end.send(`{"action":"drs.ping"}`)
	if cmd := end.command(); cmd.Action != "drs.response" {
		t.Fatalf("got %+v", cmd)
	}
	conns := srv.Conns()
	return end, conns[len(conns)-1]
}

func TestCommandsToClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, conn := lineConnTo(t, quietServer(t, nil))
		ctx := context.Background()
		for i, tc := range []struct {
			message      any
			sent, answer string
			want, code   string
		}{
			{map[string]int{"a": 1}, `,"body":{"a":1}`, `"action":"drs.response","body":{"b":2}`, `{"b":2}`, ""},
			{"text", `,"body":"text"`, `"action":"drs.response","body":[]`, `[]`, ""},
			{[]byte{1, 2, 3}, `,"body":"AQID"`, `"action":"drs.response"`, `null`, ""},
			{nil, ``, `"action":"drs.response","body":null`, `null`, ""},
			{nil, ``, `"action":"drs.error","body":"no luck"`, "no luck", "ERROR"},
			{nil, ``, `"action":"drs.error","body":{"message":"no luck","kind":"K"}`, "no luck", "K"},
			{nil, ``, `"action":"drs.error","body":{"message":"no luck","kind":"K","processed":false,"details":[1]}`, "no luck [1] NotProcessed", "K"},
			{nil, ``, `"action":"drs.error","body":[1,2]`, "[1,2]", "ERROR"},
			{nil, ``, `"action":"drs.error"`, "the other end answered drs.error", "ERROR"},
			{nil, ``, `"action":"drs.exception","body":{"message":"broken"}`, "broken", "INTERNAL"},
			{nil, ``, `"action":"drs.exception","body":{"message":"broken","kind":"HANDLER_PANIC"}`, "broken", "HANDLER_PANIC"},
		} {
			var reply any
			done := make(chan error, 1)
			go func() { done <- conn.Call(ctx, "/push", tc.message, &reply) }()
			key := fmt.Sprintf(`"key":"%d"`, i+1)
			end.want(`{"action":"/push",` + key + tc.sent + `}`)
			end.send(`{`+key+`,`+tc.answer+`}`, `{`+key+`,"action":"drs.response","body":"once more"}`)
			err := <-done
			got, _ := json.Marshal(reply)
			var e *Error
			switch {
			case tc.code == "" && (err != nil || string(got) != tc.want):
				t.Errorf("%d: got %s, %v, want %s", i, got, err, tc.want)
			case tc.code == "":
			case !errors.As(err, &e) || !e.Remote() || string(e.Code) != tc.code:
				t.Errorf("%d: got %v, want code %s", i, err, tc.code)
			default:
				text := e.Message
				if e.Details != nil {
					text += fmt.Sprint(" ", e.Details, " ", Outcome(err))
				}
				if text != tc.want {
					t.Errorf("%d: got %q, want %q", i, text, tc.want)
				}
			}
		}
	})
}

func TestCommandsMessagesToClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		end, conn := lineConnTo(t, srv)
		if err := conn.SendMessage(context.Background(), "note", "a"); err != nil {
			t.Fatal(err)
		}
		if err := srv.Broadcast("note", []int{1}); err != nil {
			t.Fatal(err)
		}
		end.want(`{"action":"note","key":"1","body":"a"}`)
		end.want(`{"action":"note","key":"2","body":[1]}`)
		end.send(`{"action":"drs.response","key":"1"}`, `{"action":"drs.exception","key":"2"}`, `{"action":"drs.response"}`, `{"action":"drs.error","key":[7]}`)
		done := make(chan error, 1)
		go func() { _, err := conn.Ping(100, 0); done <- err }()
		end.want(`{"action":"drs.ping","key":"3"}`)
		end.send(`{"action":"drs.response","key":"3","body":1}`)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := conn.OpenStream(context.Background(), "items", nil); !errors.Is(err, BadRequest) {
			t.Errorf("OpenStream: %v", err)
		}
	})
}

// What is given up is forgotten: a late answer means nothing.
func TestCommandsForgetCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, conn := lineConnTo(t, quietServer(t, nil))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		wantErr(t, conn.Call(ctx, "slow", nil, nil), Timeout, Unknown)
		_, err := conn.Ping(0, time.Second)
		wantErr(t, err, Timeout, Unknown)
		end.want(`{"action":"slow","key":"1"}`)
		end.want(`{"action":"drs.ping","key":"2"}`)
		tr := conn.proto.conn.(*commandConn)
		tr.mu.Lock()
		n := len(tr.calls) + len(tr.sent) + len(tr.open) + len(tr.keys)
		tr.mu.Unlock()
		if n != 0 {
			t.Errorf("%d entries are kept", n)
		}
		end.send(`{"action":"drs.response","key":"1"}`)
		go func() {
			end.want(`{"action":"slow","key":"3"}`)
			end.send(`{"action":"drs.response","key":"3","body":"in time"}`)
		}()
		var reply string
		if err := conn.Call(context.Background(), "slow", nil, &reply); err != nil || reply != "in time" {
			t.Errorf("got %q, %v", reply, err)
		}
	})
}

func TestCommandsHandlerCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxCalls: 1})
		srv.OnMessage("ask", func(c *Context, q string) (string, error) {
			var a string
			err := c.Call("answer", q+"?", &a)
			return a, err
		})
		end := lineTo(t, srv)
		end.send(`{"action":"ask","key":"x","body":"why"}`)
		end.want(`{"action":"answer","key":"1","body":"why?"}`)
		end.send(`{"action":"drs.response","key":"1","body":"so"}`)
		end.want(`{"action":"drs.response","key":"x","body":"so"}`)
	})
}

// A client that has ended what it sends gets its answers; calls to it fail.
func TestCommandsHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("ask", func(c *Context) string {
			time.Sleep(45 * time.Second)
			err := c.Call("answer", nil, nil)
			return fmt.Sprint(err)
		})
		var reason error = errors.New("OnDisconnect didn't run")
		srv.OnDisconnect(func(_ *Context, err error) { reason = err })
		end, conn := lineConnTo(t, srv)
		pending := conn.Go(context.Background(), "before", nil, nil)
		end.send(`{"action":"ask","key":"x"}`)
		if err := end.conn.(*transport.MemConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		end.want(`{"action":"before","key":"1"}`)
		<-pending.Done()
		wantErr(t, pending.Err(), Unavailable, Answered)
		end.want(`{"action":"answer","key":"2"}`)
		end.want(`{"action":"drs.response","key":"x","body":"UNAVAILABLE: the other end has ended what it sends, and not answered"}`)
		end.wantEnd()
		synctest.Wait()
		if reason != nil {
			t.Errorf("OnDisconnect was told %v", reason)
		}
	})
}

// A connection that is lost cancels what its handlers do.
func TestCommandsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		ended := make(chan error, 1)
		srv.OnMessage("wait", func(c *Context) { <-c.Done(); ended <- c.Err() })
		end, conn := lineConnTo(t, srv)
		end.send(`{"action":"wait","key":"x"}`)
		synctest.Wait()
		end.conn.(*transport.MemConn).Reset()
		if err := <-ended; err != context.Canceled {
			t.Errorf("the handler's context ended with %v", err)
		}
		<-conn.Done()
	})
}

func TestCommandsShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		release := make(chan struct{})
		srv.OnMessage("wait", func() string { <-release; return "done" })
		end := lineTo(t, srv)
		end.send(`{"action":"wait","key":"1"}`)
		synctest.Wait()
		over := make(chan error, 1)
		go func() { over <- srv.Shutdown(context.Background()) }()
		synctest.Wait()
		end.send(`{"action":"wait","key":"2"}`)
		end.want(`{"action":"drs.error","key":"2","body":{"message":"the other end is shutting down","kind":"UNAVAILABLE","processed":false}}`)
		close(release)
		end.want(`{"action":"drs.response","key":"1","body":"done"}`)
		end.wantEnd()
		end.conn.Close()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

func TestCommandsOnConnectRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("x", func() { t.Error("a handler ran") })
		srv.OnConnect(func(*Context) error { return Errorf(Forbidden, "not today") })
		end := lineTo(t, srv)
		end.send(`{"action":"x","key":"1"}`)
		end.want(`{"action":"drs.error","key":"1","body":{"message":"not today","kind":"FORBIDDEN","processed":false}}`)
		end.wantEnd()
	})
}

func TestCommandsMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, &ServerOpts{MaxConns: 1})
		first, _ := lineConnTo(t, srv)
		end := lineTo(t, srv)
		end.send(`{"action":"nothing","key":"1"}`)
		end.want(`{"action":"drs.error","key":"1","body":{"message":"the server takes at most 1 connections: try again later","kind":"BUSY","processed":false}}`)
		end.wantEnd()
		first.conn.Close()
		synctest.Wait()
		end = lineTo(t, srv)
		end.send(`{"action":"nothing","key":"1"}`)
		end.want(`{"action":"drs.response","key":"1","body":null}`)
	})
}

func TestCommandsIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, &ServerOpts{IdleTimeout: time.Minute})
		end := lineTo(t, srv)
		start := time.Now()
		for range 3 {
			end.send(`{"action":"nothing","key":"1"}`)
			end.want(`{"action":"drs.response","key":"1","body":null}`)
			time.Sleep(50 * time.Second)
		}
		end.wantEnd()
		if d := time.Since(start); d < 150*time.Second || d > 180*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// A silent client is not pinged, and stays.
func TestCommandsNoKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, _ := lineConnTo(t, commandServer(t, nil))
		time.Sleep(24 * time.Hour)
		end.send(`{"action":"nothing","key":"1"}`)
		end.want(`{"action":"drs.response","key":"1","body":null}`)
	})
}

func TestCommandsReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, nil)
		end, conn := lineConnTo(t, srv)
		// 64 KiB in two minutes are enough, with 30 s for each 16 KiB
		fmt.Fprint(end.conn, `{"action":"text","key":"1","body":"`)
		for range 12 {
			time.Sleep(7 * time.Second)
			fmt.Fprint(end.conn, strings.Repeat("a", 5200))
		}
		end.send(`"}`)
		end.want(`{"action":"drs.response","key":"1","body":"\u003c` + strings.Repeat("a", 12*5200) + `\u003e"}`)
		time.Sleep(time.Hour)
		fmt.Fprint(end.conn, `{`)
		start := time.Now()
		end.wantEnd()
		if d := time.Since(start); d != DefaultReadTimeout {
			t.Errorf("closed after %v", d)
		}
		wantText(t, conn.Err().Error(), "ReadTimeout")
	})
}

func TestCommandsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, &ServerOpts{NoCommands: true})
		end := lineTo(t, srv)
		end.send(`{"action":"nothing","key":"1"}`)
		end.wantEnd()
	})
}

// A client that has closed in both directions is found out, and what it has asked for is cancelled.
func TestCommandsGone(t *testing.T) {
	srv := quietServer(t, nil)
	ended := make(chan error, 1)
	srv.OnMessage("wait", func(c *Context) { <-c.Done(); ended <- c.Err() })
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(conn, `{"action":"wait","key":"1"}`)
	fmt.Fprintln(conn, `{"action":"drs.ping","key":"2"}`)
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := within(t, ended); err != context.Canceled {
		t.Errorf("the handler's context ended with %v", err)
	}
}

// rogue encodes itself as something that is no JSON, or is more than one line.
type rogue string

func (r rogue) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// What a type's own MarshalJSON makes can't break the lines.
func TestCommandsRogueJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("two", func() any { return []any{rogue("1]}\n{\"action\":\"x\"}\n[")} })
		srv.OnMessage("lines", func() any { return []any{rogue("{\n\"a\":\r\n1}")} })
		end, conn := lineConnTo(t, srv)
		end.send(`{"action":"lines","key":"1"}`)
		end.want(`{"action":"drs.response","key":"1","body":[{"a":1}]}`)
		end.send(`{"action":"two","key":"2"}`)
		if cmd := end.command(); cmd.Action != "drs.exception" || cmd.Key != "2" || !strings.Contains(string(cmd.Body), "INTERNAL") {
			t.Errorf("got %+v", cmd)
		}
		if err := conn.SendPacket(&Packet{Code: "note", Payload: []byte("]")}); err != nil { // by who makes packets itself
			t.Fatal(err)
		}
		end.wantEnd()
		wantText(t, conn.Err().Error(), "is no JSON")
	})
}

// The packets of a program that speaks packets itself are no commands if they belong to a stream.
func TestCommandsOddPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, conn := lineConnTo(t, quietServer(t, nil))
		for _, p := range []*Packet{
			{Flag: FlagResponse, Sequence: 7, Payload: []byte("1")}, // answers nothing
			{Code: byePath},
			{Code: "note", Payload: []byte("7")},
		} {
			if err := conn.SendPacket(p); err != nil {
				t.Fatal(err)
			}
		}
		end.want(`{"action":"note","key":"1","body":7}`)
		if err := conn.SendPacket(&Packet{Flag: FlagStream, Sequence: 1, Payload: []byte("7")}); err != nil {
			t.Fatal(err)
		}
		end.wantEnd()
		wantText(t, conn.Err().Error(), "can be no command")
	})
}

func TestServeCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, &ServerOpts{MaxConns: 1, Auth: lineAuth})
		near, far := transport.Pipe(nil)
		end := newLineEnd(t, near)
		conn, err := srv.ServeCommands(far, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SendMessage(context.Background(), "first", nil); err != nil { // whoever speaks first
			t.Fatal(err)
		}
		end.want(`{"action":"first","key":"1"}`)
		end.send(`{"action":"nothing"}`)
		end.want(`{"action":"drs.response","body":null}`)
		near, far = transport.Pipe(nil)
		if _, err := srv.ServeCommands(far, nil); !errors.Is(err, Busy) {
			t.Errorf("one too many: %v", err)
		}
		newLineEnd(t, near).wantEnd()
		end.conn.Close()
		<-conn.Done()
		synctest.Wait()
		srv.Close()
		near, far = transport.Pipe(nil)
		if _, err := srv.ServeCommands(far, nil); !errors.Is(err, Unavailable) {
			t.Errorf("of a closed server: %v", err)
		}
		newLineEnd(t, near).wantEnd()
	})
}
