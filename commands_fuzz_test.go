package flyrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzCommandSession has a server served any bytes as a connection of commands. It answers with commands, or
// closes, and nothing is left of it.
func FuzzCommandSession(f *testing.F) {
	for _, seed := range []string{
		`{"action":"text","key":"1","body":"a"}` + "\n" + `{"action":"nothing"}`,
		"{\n{}\n[]\n\n{\"action\":\"panics\",\"key\":[1]}\n{\"action\":\"drs.response\",\"key\":\"1\"}\n",
		`{"action":"fly.hello"}` + "\n" + `{"action":"fly.ping","body":{},"key":1e400}` + "\n" + `{"action":"drs.error","key":"1","body":"x"}`,
		`{"action":"back","key":"\ud800"}` + "\n" + `{"action":"drs.exception","key":"1","body":{"message":"m","details":[` + "\n",
		`{"action":"` + strings.Repeat("a", 5000) + `","key":"k"}`,
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk uint8) {
		if len(data) == 0 || data[0] != '{' {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			srv := commandServer(t, &ServerOpts{MaxMessage: 4 << 10, MaxCalls: 3})
			srv.OnMessage("back", func(c *Context) error {
				ctx, cancel := context.WithTimeout(c, time.Second)
				defer cancel()
				return c.WithContext(ctx).Call("to you", "x", nil)
			})
			near := servePipe(srv)
			near.SetChunk(int(chunk))
			defer near.Close()
			go func() {
				_, _ = near.Write(data)
				_ = near.CloseWrite()
			}()
			_ = near.SetReadDeadline(time.Now().Add(time.Hour))
			out, err := io.ReadAll(near)
			if err != nil {
				t.Fatalf("the connection has not ended: %v", err)
			}
			for line := range strings.Lines(string(out)) {
				var cmd struct{ Action *string }
				if json.Unmarshal([]byte(line), &cmd) != nil || cmd.Action == nil || !strings.HasSuffix(line, "\n") {
					t.Fatalf("%q is no command", line)
				}
			}
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// A session of random commands: each is answered once, with its key, as it should be.
func TestCommandsRandom(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			srv := commandServer(t, &ServerOpts{MaxCalls: 1 + r.IntN(8)})
			srv.OnMessage("sleep", func(ms int) int { time.Sleep(time.Duration(ms) * time.Millisecond); return ms })
			end := lineTo(t, srv)
			end.conn.(interface{ SetChunk(int) }).SetChunk(r.IntN(50))
			want := map[string]string{}
			var lines []string
			for i := range 300 {
				key := fmt.Sprint(i)
				action, body, answer := randomCommand(r)
				want[key] = answer
				lines = append(lines, fmt.Sprintf(`{"action":%q,"key":%q,"body":%s}`, action, key, body))
			}
			go func() {
				for len(lines) > 0 {
					n := min(1+r.IntN(20), len(lines))
					if _, err := io.WriteString(end.conn, strings.Join(lines[:n], "\n")+"\n"); err != nil {
						return
					}
					lines = lines[n:]
				}
			}()
			for range 300 {
				cmd := end.command()
				answer, open := want[cmd.Key]
				if got := cmd.Action + " " + string(cmd.Body); !open || !strings.Contains(got, answer) {
					t.Fatalf("seed %d: %q is answered %s, want %s (open: %v)", seed, cmd.Key, got, answer, open)
				}
				delete(want, cmd.Key)
			}
		})
	}
}

// randomCommand returns an action, a body, and what stands in the answer.
func randomCommand(r *rand.Rand) (action, body, answer string) {
	n := r.IntN(1000)
	switch r.IntN(8) {
	case 0:
		return "text", fmt.Sprintf(`"%d"`, n), fmt.Sprintf(`drs.response "\u003c%d\u003e"`, n)
	case 1:
		return "any", fmt.Sprintf(`{"a":[%d]}`, n), fmt.Sprintf(`drs.response {"a":[%d]}`, n)
	case 2:
		return "sleep", fmt.Sprint(n), fmt.Sprintf(`drs.response %d`, n)
	case 3:
		return "fails", "1", `drs.exception {"message":"out of order"`
	case 4:
		return "panics", "1", `drs.exception {"message":"the handler panicked"`
	case 5:
		return "unknown", "1", `drs.error {"message":"no handler`
	case 6:
		return "drs.ping", "1", "drs.response "
	}
	return "/user/get", fmt.Sprintf(`{"ID":%d}`, n+1), fmt.Sprintf(`drs.response {"ID":%d,"Name":"Ada"}`, n+1)
}
