package flyrpc

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/command"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/transport"
)

// A client that was silent, and so had OnConnect run as if it were of version 1, is served in the protocol that it then
// begins, also if that OnConnect refuses it when it has begun: the next one decides.
func TestHandOverWhileOnConnectRuns(t *testing.T) {
	for _, text := range []string{
		`{"action":"text","key":"1","body":"a"}` + "\n",
		"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{MaxConns: 1})
			srv.OnMessage("text", func(s string) string { return "<" + s + ">" })
			var runs atomic.Int32
			srv.OnConnect(func(*Context) error {
				if runs.Add(1) == 1 {
					time.Sleep(time.Second)
					return Errorf(Forbidden, "no version 1 here")
				}
				return nil
			})
			nc := servePipe(srv)
			time.Sleep(2 * silentFor)
			if _, err := nc.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4096)
			n, err := nc.Read(got)
			if err != nil || !strings.Contains(string(got[:n]), "drs.response") && !strings.Contains(string(got[:n]), "200 OK") {
				t.Errorf("got %q, %v", got[:n], err)
			}
			nc.Close()
			synctest.Wait()
			time.Sleep(time.Second)
			srv.mu.Lock()
			left := srv.admission.n + srv.admission.refusing
			srv.mu.Unlock()
			if left != 0 || runs.Load() != 2 {
				t.Errorf("%d connections are still counted, OnConnect ran %d times", left, runs.Load())
			}
		})
	}
}

// sharing is a codec whose commands share the memory of what they were parsed from.
type sharing struct{}

func (sharing) Bodies() serializer.Serializer { return jsonser.Serializer }

func (sharing) Parse(data []byte) (command.Command, error) {
	action, rest, _ := strings.Cut(string(data), " ")
	key := data[len(action)+1:]
	return command.Command{Action: action, Key: key[:len(rest)]}, nil
}

func (sharing) Append(dst []byte, c *command.Command) ([]byte, error) {
	return append(append(append(dst, c.Action...), ' '), c.Key...), nil
}

// A key is kept until its command is answered, while the memory that a codec has taken it from is used again.
func TestCommandsKeysOfSharingCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		next := make(chan struct{})
		srv.OnMessage("wait", func() { <-next })
		srv.OnMessage("go", func() { close(next) })
		near, far := net.Pipe()
		end := newLineEnd(t, near)
		if _, err := srv.ServeCommands(far, sharing{}); err != nil {
			t.Fatal(err)
		}
		end.send(`wait "first"`)
		synctest.Wait()
		end.send(`go "other"`)
		end.want(`drs.response "first"`, `drs.response "other"`)
	})
}

// A key is not kept, nor sent back, that is longer than keys may be.
func TestCommandsLongKeyOfPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range []string{"drs.ping", "fly.hello"} {
			end := lineTo(t, quietServer(t, nil))
			end.send(`{"action":"` + first + `","key":"` + strings.Repeat("k", command.MaxKey+1) + `"}`)
			cmd := end.command()
			if cmd.Action != "drs.error" || cmd.Key != "" || !strings.Contains(string(cmd.Body), "the key has more than 256 bytes") {
				t.Errorf("%s: got %+v", first, cmd)
			}
			end = lineTo(t, quietServer(t, nil))
			end.send(`{"action":"` + first + `","key":"` + strings.Repeat("k", command.MaxKey) + `"}`)
			if cmd := end.command(); cmd.Action != "drs.response" || len(cmd.Key) != command.MaxKey {
				t.Errorf("%s: got %+v", first, cmd)
			}
		}
	})
}

// A message that is no JSON, as a type's own MarshalJSON may make it, fails alone.
func TestCommandsRogueMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		end, conn := lineConnTo(t, srv)
		wantErr(t, conn.SendMessage(context.Background(), "note", []any{rogue("]")}), BadRequest, NotSent)
		wantErr(t, conn.Call(context.Background(), "ask", []any{rogue("1}\n{")}, nil), BadRequest, NotSent)
		_ = srv.Broadcast("note", []any{rogue("]")})
		if err := conn.SendMessage(context.Background(), "note", 7); err != nil {
			t.Fatal(err)
		}
		line, err := end.next()
		if err != nil || !strings.HasSuffix(line, `"body":7}`) {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

// slowWrites is a connection that takes what is written only when it may.
type slowWrites struct {
	net.Conn
	may <-chan struct{}
}

func (c slowWrites) Write(b []byte) (int, error) {
	if len(b) > 0 {
		<-c.may
	}
	return c.Conn.Write(b)
}

// The answer to a client that has ended what it sends is waited for while it is written, too.
func TestCommandsHalfCloseOfSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, nil)
		near, far := transport.Pipe(nil)
		may := make(chan struct{})
		go srv.ServeConn(slowWrites{far, may})
		end := newLineEnd(t, near)
		end.send(`{"action":"text","key":"1","body":"a"}`)
		if err := near.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(goneTick + time.Second)
		close(may)
		end.want(`{"action":"drs.response","key":"1","body":"\u003ca\u003e"}`)
		end.wantEnd()
	})
}
