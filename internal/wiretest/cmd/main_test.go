package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files writes scenarios that need no program, and returns their folder.
func files(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	text := `[
  {"name": "right", "section": "3", "as": "both", "steps": [
    {"send": "40 0001 'fly.ping' 00 01 'a'"}, {"recv": "80 0001 00 01 'a'"}]},
  {"name": "wrong", "section": "3", "as": "both", "steps": [
    {"send": "40 0001 'fly.ping' 00 01 'a'"}, {"recv": "80 0001 00 01 'b'"}]},
  {"name": "compressed", "section": "3", "as": "both", "needs": ["zstd", "flate"], "steps": [{"fence": true}]},
  {"name": "of servers", "section": "3", "as": "dial", "steps": [{"fence": true}]}]`
	if err := os.WriteFile(filepath.Join(dir, "section3.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDial(t *testing.T) {
	srv := flyrpc.NewServer(&flyrpc.ServerOpts{
		Serializers: []serializer.Serializer{jsonser.Serializer}, Logger: slog.New(slog.DiscardHandler),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		srv.Close()
		<-done
	}()
	args := []string{"-dial", l.Addr().String(), "-dir", files(t)}
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 1 || errs.Len() > 0 {
		t.Errorf("exit code %d, %s", code, &errs)
	}
	for _, want := range []string{"ok   3 right\n", "FAIL 3 wrong\n     step 2, recv: ", "\n     expected ", "ok   3 compressed\n", "ok   3 of servers\n", "4 scenarios, 1 failed, 0 skipped\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	out.Reset()
	if code := run(append(args, "-section", "3", "-run", "right|servers"), &out, &errs); code != 0 || !strings.Contains(out.String(), "2 scenarios, 0 failed") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

// firstLine sends the address in the first line that is written to it.
type firstLine struct {
	bytes.Buffer
	addr chan string
}

func (w *firstLine) Write(b []byte) (int, error) {
	if addr, ok := strings.CutPrefix(string(b), "listening on "); ok {
		w.addr <- strings.TrimSpace(addr)
	}
	return w.Buffer.Write(b)
}

func TestListen(t *testing.T) {
	out := &firstLine{addr: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"-listen", "127.0.0.1:0", "-dir", files(t), "-run", "right|servers"}, out, io.Discard)
	}()
	addr := <-out.addr
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cli, err := flyrpc.Dial(ctx, addr, &flyrpc.ClientOpts{Serializer: jsonser.Serializer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if code := <-code; code != 0 || !strings.Contains(out.String(), "1 scenarios, 0 failed") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestSkip plays against a client that inflates flate alone.
func TestSkip(t *testing.T) {
	out := &firstLine{addr: make(chan string, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"-listen", "127.0.0.1:0", "-dir", files(t), "-run", "compressed"}, out, io.Discard)
	}()
	conn, err := net.Dial("tcp", <-out.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := `{"flyrpc":2,"serializers":["json"],"inflate":["flate"]}`
	if _, err := conn.Write(append([]byte("\x40\xff\xfffly.hello\x00"), append([]byte{byte(len(hello))}, hello...)...)); err != nil {
		t.Fatal(err)
	}
	if code := <-code; code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	for _, want := range []string{"skip 3 compressed\n     ", ": zstd\n", "1 scenarios, 0 failed, 1 skipped\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	dir := files(t)
	for _, args := range [][]string{
		{},
		{"-colour"},
		{"-dial", "a:1", "-listen", "b:1"},
		{"-dial", "a:1", "more"},
		{"-dial", "a:1", "-run", "("},
		{"-dial", "a:1", "-dir", filepath.Join(dir, "none")},
		{"-dial", "a:1", "-dir", dir, "-section", "9"},
		{"-listen", "nowhere", "-dir", dir},
		{"-dial", "nowhere", "-dir", dir},
	} {
		var errs bytes.Buffer
		if code := run(args, io.Discard, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %q", args, code, &errs)
		}
	}
}
