package flyrpc

import (
	"net"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// ReadTimeout holds for a text message as for a line: one whose rest doesn't come is no way to hold memory.
func TestWebSocketSlowText(t *testing.T) {
	srv := quietServer(t, &ServerOpts{ReadTimeout: 300 * time.Millisecond})
	srv.OnMessage("/echo", func(s string) string { return s })
	c, _, err := gorilla.DefaultDialer.DialContext(bounded(t), mounted(t, srv), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(text string) {
		t.Helper()
		if err := c.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"action":"/echo","key":"1","body":"a"}`)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, b, err := c.ReadMessage(); err != nil || string(b) != `{"action":"drs.response","key":"1","body":"a"}` {
		t.Fatalf("got %s, %v", b, err)
	}
	time.Sleep(600 * time.Millisecond) // between messages any time may pass
	say(`{"action":"/echo","key":"2","body":"b"}`)
	if _, b, err := c.ReadMessage(); err != nil || string(b) != `{"action":"drs.response","key":"2","body":"b"}` {
		t.Fatalf("got %s, %v", b, err)
	}
	begun := time.Now()
	if _, err := c.NetConn().Write([]byte{0x01, 0x80 | 5, 0, 0, 0, 0, '{', ' ', ' '}); err != nil { // a part of the first frame
		t.Fatal(err)
	}
	_, _, err = c.ReadMessage()
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("the connection isn't closed")
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("closed after %v: %v", took, err)
	}
}
