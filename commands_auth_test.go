package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lineAuth lets those in who show the token "right".
func lineAuth(_ context.Context, c *Credentials) (any, error) {
	var cr struct{ Token string }
	switch err := c.Decode(&cr); {
	case err != nil:
		return nil, err
	case cr.Token == "broken":
		panic("secret")
	case cr.Token != "right":
		return nil, errors.New("wrong token")
	case c.Version != 0 || c.RemoteAddr == nil:
		return nil, Errorf(Internal, "credentials of version %d, from %v", c.Version, c.RemoteAddr)
	}
	return "somebody", nil
}

func TestCommandsAuth(t *testing.T) {
	for name, tc := range map[string]struct{ first, want string }{
		"none":      {`{"action":"who","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"no credentials: set ClientOpts.Auth","kind":"UNAUTHENTICATED","processed":false}}`},
		"ping":      {`{"action":"drs.ping","key":"1"}`, `{"action":"drs.error","key":"1","body":{"message":"no credentials: set ClientOpts.Auth","kind":"UNAUTHENTICATED","processed":false}}`},
		"empty":     {`{"action":"fly.hello"}`, `{"action":"drs.error","body":{"message":"no credentials: set ClientOpts.Auth","kind":"UNAUTHENTICATED","processed":false}}`},
		"wrong":     {`{"action":"fly.hello","key":"1","body":{"auth":{"token":"x"}}}`, `{"action":"drs.error","key":"1","body":{"message":"wrong token","kind":"UNAUTHENTICATED","processed":false}}`},
		"panic":     {`{"action":"fly.hello","key":"1","body":{"auth":{"token":"broken"}}}`, `{"action":"drs.error","key":"1","body":{"message":"the credentials could not be checked","kind":"INTERNAL","processed":false}}`},
		"no object": {`{"action":"fly.hello","key":"1","body":{"auth":7}}`, `{"action":"drs.error","key":"1","body":{"message":"auth in fly.hello is no JSON object","kind":"BAD_REQUEST","processed":false}}`},
		"no body":   {`{"action":"fly.hello","key":"1","body":7}`, `{"action":"drs.error","key":"1","body":{"message":"the body of fly.hello is no JSON object: json: cannot unmarshal number into Go value of type flyrpc.helloMessage","kind":"BAD_REQUEST","processed":false}}`},
		"no JSON":   {`{`, `{"action":"drs.error","body":{"message":"the command is no JSON: unexpected end of JSON input","kind":"BAD_REQUEST","processed":false}}`},
		"too long":  {`{"action":"` + strings.Repeat("a", 1<<10+8<<10), `{"action":"drs.error","body":{"message":"the command is too long: at most 9216 bytes are accepted","kind":"BUFF_TOO_LONG","processed":false}}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{Auth: lineAuth, MaxMessage: 1 << 10})
				srv.OnMessage("who", func() { t.Error("a handler ran") })
				srv.OnConnect(func(*Context) error { t.Error("OnConnect ran"); return nil })
				end := lineTo(t, srv)
				end.send(tc.first, `{"action":"who","key":"2"}`)
				end.want(tc.want)
				end.wantEnd()
			})
		})
	}
}

func TestCommandsLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Auth: lineAuth, Info: "here"})
		srv.OnMessage("who", func(c *Context) any { return []any{c.Conn().Identity(), c.Conn().PeerInfo().Version} })
		end := lineTo(t, srv)
		end.send(`{"action":"fly.hello","key":"h","body":{"auth":{"token":"right"}}}`, `{"action":"who","key":"1"}`)
		end.want(`{"action":"drs.response","key":"h","body":{"agent":"`+agent+`","message":4194304,"calls":1024,"info":"here"}}`,
			`{"action":"drs.response","key":"1","body":["somebody",0]}`)
	})
}

func TestCommandsHelloTimeout(t *testing.T) {
	for name, begin := range map[string]string{"silent within": `{"action":"fly.he`, "blank": "{"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{Auth: lineAuth})
				end := lineTo(t, srv)
				start := time.Now()
				if _, err := end.conn.Write([]byte(begin)); err != nil {
					t.Fatal(err)
				}
				end.wantEnd()
				if d := time.Since(start); d < DefaultHelloTimeout || d > DefaultHelloTimeout+2*lingerFor {
					t.Errorf("closed after %v, want %v", d, DefaultHelloTimeout)
				}
			})
		})
	}
}

func TestCommandsWithoutAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := lineTo(t, commandServer(t, &ServerOpts{Info: json.RawMessage(`{"a":1}`)}))
		end.send(`{"action":"fly.hello","key":"h","body":{"auth":{}}}`)
		end.want(`{"action":"drs.response","key":"h","body":{"agent":"` + agent + `","message":4194304,"calls":1024,"info":{"a":1}}}`)
		end.send(`{"action":"fly.hello","key":"h"}`)
		end.want(`{"action":"drs.error","key":"h","body":{"message":"hello was said already, or by the wrong end","kind":"CONFLICT","processed":false}}`)
	})
}
