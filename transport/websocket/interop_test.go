package websocket

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

func TestAnotherClient(t *testing.T) {
	c, s, resp := gorillaClient(t, &gorilla.Dialer{EnableCompression: true}, &AcceptOptions{Header: http.Header{"X-Answer": {"yes"}}})
	if got := resp.Header.Get("Sec-Websocket-Extensions"); got != "" {
		t.Errorf("the server agreed on %q: it must not inflate anything", got)
	}
	if got := resp.Header.Get("X-Answer"); got != "yes" {
		t.Errorf("X-Answer is %q", got)
	}
	if got := s.Header().Get("Upgrade"); got != "websocket" {
		t.Errorf("the request's header is %v", s.Header())
	}
	for _, size := range []int{0, 1, 125, 126, 127, 4000, 65535, 65536, 300_000} {
		sent := random(size)
		written := inBackground(func() error { return c.WriteMessage(gorilla.BinaryMessage, sent) })
		wantBytes(t, s, sent)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			continue
		}
		s.StartMessage(size)
		go func() {
			for i := 0; i < size; i += 40_000 {
				_, _ = s.Write(sent[i:min(size, i+40_000)])
			}
		}()
		kind, got, err := c.ReadMessage()
		if err != nil || kind != gorilla.BinaryMessage || !bytes.Equal(got, sent) {
			t.Fatalf("a message of %d bytes came as %d of kind %d, %v", size, len(got), kind, err)
		}
	}
}

// A writer of gorilla's sends fragments.
func TestFragments(t *testing.T) {
	c, s, _ := gorillaClient(t, &gorilla.Dialer{WriteBufferSize: 100}, nil)
	sent := random(10_000)
	for range 2 {
		w, err := c.NextWriter(gorilla.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(sent); i += 77 {
			mustWrite(t, w, sent[i:min(len(sent), i+77)])
			if i%770 == 0 {
				if err := c.WriteControl(gorilla.PingMessage, nil, time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, s, sent)
	}
}

func TestPingPong(t *testing.T) {
	c, s, _ := gorillaClient(t, &gorilla.Dialer{}, nil)
	pongs := make(chan string, 10)
	c.SetPongHandler(func(text string) error { pongs <- text; return nil })
	go func() { _, _ = io.Copy(io.Discard, s) }()
	go func() { _, _, _ = c.ReadMessage() }()
	for _, text := range []string{"", "hello", strings.Repeat("x", 125)} {
		if err := c.WriteControl(gorilla.PingMessage, []byte(text), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if got := <-pongs; got != text {
			t.Errorf("the ping %q was answered %q", text, got)
		}
	}
	_ = c.WriteControl(gorilla.PongMessage, []byte("unasked"), time.Now().Add(time.Minute))
	s.Close()
}

// Text messages go both ways, with what UTF-8 has.
func TestText(t *testing.T) {
	c, s, _ := gorillaClient(t, &gorilla.Dialer{}, nil)
	for _, text := range []string{`{"action":"/user/get"}`, "", "ä€😀", strings.Repeat("long ", 50_000)} {
		written := inBackground(func() error { return c.WriteMessage(gorilla.TextMessage, []byte(text)) })
		if text == "" { // what comes first is met by a Read
			if n, err := s.Read(make([]byte, 10)); n != 0 || err != ErrText {
				t.Fatalf("Read of a connection of texts: %d, %v", n, err)
			}
		}
		got, err := s.ReadText()
		if err != nil || string(got) != text || got == nil {
			t.Fatalf("ReadText: %.50q (%d bytes), %v", got, len(got), err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		written = inBackground(func() error { return s.WriteText(got) })
		kind, back, err := c.ReadMessage()
		if err != nil || kind != gorilla.TextMessage || string(back) != text {
			t.Fatalf("%.50q of kind %d, %v", back, kind, err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for code, want := range map[int]error{
		CloseNormal: io.EOF, CloseGoingAway: io.EOF, CloseNoStatus: io.EOF,
		ClosePolicy: &CloseError{Code: ClosePolicy, Reason: "because"},
		4321:        &CloseError{Code: 4321, Reason: "because"},
	} {
		c, s, _ := gorillaClient(t, &gorilla.Dialer{}, nil)
		if err := c.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, "because"), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := s.Read(make([]byte, 10))
			var e *CloseError
			if errors.As(want, &e) {
				var got *CloseError
				if !errors.As(err, &got) || *got != *e {
					t.Errorf("code %d: %v", code, err)
				}
			} else if err != want {
				t.Errorf("code %d: %v, want %v", code, err, want)
			}
		}
		s.SetClose(CloseGoingAway, "the server stops")
		s.Close()
		_, _, err := c.ReadMessage()
		if !gorilla.IsCloseError(err, CloseGoingAway) || !strings.Contains(err.Error(), "the server stops") {
			t.Errorf("the client got %v", err)
		}
	}
}

// What is wrong is told to the other end.
func TestWrongKindIsTold(t *testing.T) {
	c, s, _ := gorillaClient(t, &gorilla.Dialer{}, nil)
	for _, kind := range []int{gorilla.BinaryMessage, gorilla.TextMessage} {
		if err := c.WriteMessage(kind, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	wantBytes(t, s, []byte("x"))
	_, err := s.Read(make([]byte, 10))
	var e *CloseError
	if !errors.As(err, &e) || e.Code != CloseBadKind || !strings.Contains(err.Error(), "the first one was binary") {
		t.Errorf("Read: %v", err)
	}
	s.Close()
	if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, CloseBadKind) || !strings.Contains(err.Error(), "text message") {
		t.Errorf("the client got %v", err)
	}
}

// Another server, as far as a client needs it.
func TestAnotherServer(t *testing.T) {
	done := make(chan error, 1)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := (&gorilla.Upgrader{EnableCompression: true}).Upgrade(w, r, nil)
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		_ = c.WriteMessage(gorilla.BinaryMessage, []byte("at once: "+r.URL.RequestURI()+" "+r.Header.Get("Cookie")))
		for {
			kind, b, err := c.ReadMessage()
			if err != nil {
				done <- err
				return
			}
			_ = c.WriteMessage(kind, b)
		}
	})
	c, err := Transport{Header: http.Header{"Cookie": {"session=7"}}}.Dial(within(t), u)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, c, []byte("at once: /mounted?x=1 session=7"))
	sent := random(200_000)
	go func() { _, _ = c.Write(sent) }()
	wantBytes(t, c, sent)
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-done; !gorilla.IsCloseError(err, CloseNormal) {
		t.Errorf("the server got %v", err)
	}
}
