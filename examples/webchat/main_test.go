package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the program at addr and returns where, and what stops it.
func start(t *testing.T, addr string) (where string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// say fills in the form and sends it, as somebody who types does.
func (w *window) say(name, text string) {
	w.b.t.Helper()
	w.eval(fmt.Sprintf(`form.name.value = %q; form.text.value = %q; form.requestSubmit()`, name, text))
}

// hears waits until a line is there, and looks that it is there once.
func (w *window) hears(line string) {
	w.b.t.Helper()
	w.await(fmt.Sprintf(`document.getElementById('lines').innerText.includes(%q)`, line))
	if lines := w.eval(`document.getElementById('lines').innerText`); strings.Count(lines, line) != 1 {
		w.b.t.Errorf("%q is there more than once:\n%s", line, lines)
	}
}

// TestTwoWindows has two windows talk, the server restart, and both go on.
func TestTwoWindows(t *testing.T) {
	addr, stop := start(t, "127.0.0.1:0")
	b := startBrowser(t)
	ada, bob := b.open("http://"+addr+"/"), b.open("http://"+addr+"/")
	for _, w := range []*window{ada, bob} {
		w.await(`document.getElementById('state')?.textContent === 'connected'`)
	}
	all := func(line string) {
		t.Helper()
		ada.hears(line)
		bob.hears(line)
	}
	ada.say("Ada", "hello") // Bob hasn't joined, and hears it all the same: his connection is open
	bob.say("Bob", "<b>hi</b> Ada")
	all("Ada: hello")
	all("Bob: <b>hi</b> Ada")

	stop()
	for _, w := range []*window{ada, bob} {
		w.await(`document.getElementById('state').textContent.startsWith('not connected')`)
	}
	ada.say("Ada", "said while nobody listened")
	start(t, addr)
	all("Ada: said while nobody listened")
	bob.say("Bob", "we go on")
	all("Bob: we go on")
	ada.say("Ada", "so do I")
	all("Ada: so do I")
	all("Ada: hello") // what was said before is still there

	late := b.open("http://" + addr + "/")
	late.await(`document.getElementById('state')?.textContent === 'connected'`)
	late.say("Cy", "I missed it")
	late.hears("Bob: we go on")
	all("Cy: I missed it")
}

// TestAnotherSite has a page of another site refused.
func TestAnotherSite(t *testing.T) {
	addr, _ := start(t, "127.0.0.1:0")
	b := startBrowser(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("another site")) }))
	defer site.Close()
	for _, page := range []string{"about:blank", site.URL} {
		w := b.open(page)
		w.await(`document.readyState === 'complete'`)
		got := w.eval(`new Promise(done => {
			const socket = new WebSocket('ws://` + addr + `/chat')
			socket.onopen = () => done('open')
			socket.onerror = () => done('refused')
		})`)
		if got != "refused" {
			t.Errorf("a page at %s: %s", page, got)
		}
	}
}
