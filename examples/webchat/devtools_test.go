package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// patience is how long anything may take in a browser on a busy machine.
const patience = time.Minute

// browser is a Chromium without windows, driven by the DevTools protocol.
type browser struct {
	t    *testing.T
	conn *gorilla.Conn
	id   int
}

// startBrowser starts a Chromium, which the test ends. It has to be there: a test that is left out proves nothing.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing, which this test needs: apt-get install chromium")
	}
	args := []string{
		"--headless=new", "--remote-debugging-port=0", "--user-data-dir=" + t.TempDir(),
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-extensions",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium refuses to run as root with one
	}
	cmd := exec.Command(path, append(args, "about:blank")...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		defer close(drained)
		findAddress(stderr, found)
	}()
	select {
	case addr := <-found:
		conn, _, err := gorilla.DefaultDialer.Dial(addr, nil)
		if err != nil {
			t.Fatalf("dialling Chromium at %q: %v", addr, err)
		}
		t.Cleanup(func() { conn.Close() })
		return &browser{t: t, conn: conn}
	case <-time.After(patience):
		t.Fatal("Chromium doesn't say where it listens")
	}
	return nil
}

// findAddress reads what Chromium prints, in which the address of its DevTools is.
func findAddress(r io.Reader, found chan<- string) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
			found <- addr
			break
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// do has the browser do something, in a window unless session is empty.
func (b *browser) do(session, method string, params, result any) {
	b.t.Helper()
	b.id++
	_ = b.conn.SetWriteDeadline(time.Now().Add(patience))
	command := map[string]any{"id": b.id, "method": method, "params": params}
	if session != "" {
		command["sessionId"] = session
	}
	if err := b.conn.WriteJSON(command); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	_ = b.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := b.conn.ReadJSON(&m); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch {
		case m.Method == "Runtime.exceptionThrown":
			b.t.Errorf("the page throws: %s", m.Params)
		case m.ID != b.id:
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error)
		default:
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
			return
		}
	}
}

// window is a page that is open.
type window struct {
	b       *browser
	session string
}

// open opens a window.
func (b *browser) open(url string) *window {
	b.t.Helper()
	var target struct{ TargetID string }
	b.do("", "Target.createTarget", map[string]any{"url": url, "newWindow": true}, &target)
	var attached struct{ SessionID string }
	b.do("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.do(attached.SessionID, "Runtime.enable", map[string]any{}, &struct{}{})
	return &window{b, attached.SessionID}
}

// eval runs JavaScript in the window and returns what it, or its promise, comes to, as text.
func (w *window) eval(script string) string {
	w.b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	w.b.do(w.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		w.b.t.Fatalf("%s: %s", script, answer.ExceptionDetails)
	}
	return fmt.Sprint(answer.Result.Value)
}

// await waits until JavaScript comes to true.
func (w *window) await(script string) {
	w.b.t.Helper()
	for end := time.Now().Add(patience); w.eval(script) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.b.t.Fatalf("it never came to %s; the page says %s", script, w.eval("document.body && document.body.innerText"))
		}
	}
}
