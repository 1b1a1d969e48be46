package flyrpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// The reader stops at the limit of calls.
func TestCommandsReaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxCalls: 4})
		release, running := make(chan struct{}), make(chan int, 100)
		srv.OnMessage("wait", func(n int) int { running <- n; <-release; return n })
		end, conn := lineConnTo(t, srv)
		go func() {
			for i := range 50 {
				fmt.Fprintf(end.conn, `{"action":"wait","key":"%d","body":%d}`+"\n", i, i)
			}
		}()
		synctest.Wait()
		if n := len(running); n != 4 {
			t.Errorf("%d handlers run, want 4", n)
		}
		tr := conn.proto.conn.(*commandConn)
		tr.mu.Lock()
		if n := len(tr.open); n != 5 {
			t.Errorf("%d commands were read, want 5", n)
		}
		tr.mu.Unlock()
		close(release)
		answers := map[string]bool{}
		for range 50 {
			answers[end.command().Key] = true
		}
		if len(answers) != 50 {
			t.Errorf("%d commands were answered", len(answers))
		}
	})
}

// While a call to the client is open the reader goes on: it keeps a few more commands and refuses others.
func TestCommandsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxCalls: 2})
		release := make(chan struct{})
		srv.OnMessage("wait", func() string { <-release; return "done" })
		end, conn := lineConnTo(t, srv)
		pending := conn.Go(context.Background(), "ask", nil, nil)
		end.want(`{"action":"ask","key":"1"}`)
		for i := range 10 {
			end.send(fmt.Sprintf(`{"action":"wait","key":"%d"}`, i))
		}
		var busy []string
		for i := 6; i < 10; i++ { // 2 run, and 4 wait
			busy = append(busy, fmt.Sprintf(`{"action":"drs.error","key":"%d","body":{"message":"2 packets are being handled and as many wait","kind":"BUSY","processed":false}}`, i))
		}
		end.want(busy...)
		end.send(`{"action":"drs.response","key":"1"}`)
		<-pending.Done()
		close(release)
		for range 6 {
			if cmd := end.command(); string(cmd.Body) != `"done"` {
				t.Errorf("got %+v", cmd)
			}
		}
	})
}

func TestCommandsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := commandServer(t, &ServerOpts{MaxMessage: 1 << 10})
		text := func(n int) string { return strings.Repeat("x", n-2) }
		end := lineTo(t, srv)
		end.send(`{"action":"text","key":"1","body":"` + text(1<<10-2) + `"}`)
		if cmd := end.command(); cmd.Action != "drs.response" {
			t.Errorf("got %.200q", cmd)
		}
		end.send(`{"action":"nothing","key":"1","body":"` + text(1<<10) + `"}`)
		end.want(`{"action":"drs.response","key":"1","body":null}`)
		end.send(`{"action":"nothing","key":"1","body":"` + text(1<<10+1) + `"}`)
		end.want(`{"action":"drs.error","key":"1","body":{"message":"the message has 1025 bytes, at most 1024 are accepted","kind":"BUFF_TOO_LONG","processed":false}}`)
		max := srv.maxCommand()
		long := `{"action":"nothing","key":"1","x":"` + strings.Repeat("x", max) + `"}`
		end.send(long[:max-2]+`"}`, long[:max-1]+`"}`, strings.Repeat(long, 10), `{"action":"nothing","key":"2"}`)
		tooLong := fmt.Sprintf(`{"action":"drs.error","body":{"message":"the command is too long: at most %d bytes are accepted","kind":"BUFF_TOO_LONG","processed":false}}`, max)
		end.want(`{"action":"drs.response","key":"1","body":null}`, tooLong, tooLong, `{"action":"drs.response","key":"2","body":null}`)
		go end.conn.Write([]byte(strings.Repeat(long, 20)))
		line, err := end.next() // the answer may be lost with the connection
		if line == tooLong {
			line, err = end.next()
		}
		if err != io.EOF {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

// Nested bombs are an error, and nothing more.
func TestCommandsNestedBomb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := lineTo(t, commandServer(t, nil))
		for _, n := range []int{5000, 1 << 20} {
			end.send(`{"action":"any","key":"1","body":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
			if cmd := end.command(); cmd.Action != "drs.error" || !strings.Contains(string(cmd.Body), "nest") && !strings.Contains(string(cmd.Body), "depth") {
				t.Errorf("%d: got %s", n, cmd.Body)
			}
		}
	})
}

// A client that doesn't read what it asks for is cut, and takes no memory beyond the limits.
func TestCommandsSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxQueued: 64 << 10})
		srv.OnMessage("large", func() string { return strings.Repeat("x", 10<<10) })
		end, conn := lineConnTo(t, srv)
		go func() {
			for i := range 10000 {
				if _, err := fmt.Fprintf(end.conn, `{"action":"large","key":"%d"}`+"\n", i); err != nil {
					return
				}
			}
		}()
		<-conn.Done()
		wantText(t, conn.Err().Error(), "read nothing for")
		synctest.Wait()
	})
}

// A slow reader that does read gets it all.
func TestCommandsSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		text := strings.Repeat("x", 1<<20)
		srv.OnMessage("large", func() string { return text })
		end, _ := lineConnTo(t, srv)
		end.conn.(*transport.MemConn).Peer().SetRate(32 << 10)
		end.send(`{"action":"large","key":"1"}`)
		if cmd := end.command(); len(cmd.Body) != len(text)+2 {
			t.Errorf("%d bytes came", len(cmd.Body))
		}
	})
}

// The ways in that a stream of lines may take.
func TestCommandsCarriers(t *testing.T) {
	const send, want = `{"action":"/user/get","key":"1","body":{"ID":7}}` + "\n", `{"action":"drs.response","key":"1","body":{"ID":7,"Name":"Ada"}}` + "\n"
	w := newTLSWorld(t)
	listen := func(t *testing.T, opts *ServerOpts, network, addr string) (net.Listener, *Server) {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		srv := commandServer(t, opts)
		go func() { _ = srv.Serve(l) }()
		return l, srv
	}
	ask := func(t *testing.T, conn net.Conn) {
		t.Helper()
		defer conn.Close()
		fmt.Fprint(conn, send)
		if got, err := bufio.NewReader(conn).ReadString('\n'); got != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	t.Run("tls", func(t *testing.T) {
		l, srv := listen(t, &ServerOpts{TLS: w.server}, "tcp", "127.0.0.1:0")
		conn, err := tls.Dial("tcp", l.Addr().String(), w.client)
		if err != nil {
			t.Fatal(err)
		}
		srv.OnMessage("tls", func(c *Context) bool { return c.Conn().TLS() != nil })
		fmt.Fprintln(conn, `{"action":"tls"}`)
		if got, err := bufio.NewReader(conn).ReadString('\n'); got != `{"action":"drs.response","body":true}`+"\n" {
			t.Errorf("got %q, %v", got, err)
		}
		ask(t, conn)
		plain, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		fmt.Fprint(plain, send)
		if got, _ := io.ReadAll(plain); len(got) > 0 {
			t.Errorf("a client without TLS got %q", got)
		}
	})
	t.Run("plain beside tls", func(t *testing.T) {
		l, _ := listen(t, &ServerOpts{TLS: w.server, AllowPlain: true}, "tcp", "127.0.0.1:0")
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, conn)
	})
	t.Run("unix", func(t *testing.T) {
		l, _ := listen(t, nil, "unix", filepath.Join(t.TempDir(), "s"))
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, conn)
	})
	t.Run("pipes", func(t *testing.T) {
		in, parentOut, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		parentIn, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		child, err := transport.NewFileConn(in, out, "child", "parent")
		if err != nil {
			t.Fatal(err)
		}
		parent, err := transport.NewFileConn(parentIn, parentOut, "parent", "child")
		if err != nil {
			t.Fatal(err)
		}
		go commandServer(t, nil).ServeConn(child)
		ask(t, parent)
	})
	t.Run("nc", func(t *testing.T) {
		nc, err := exec.LookPath("nc")
		if err != nil {
			t.Fatal("nc is missing: apt-get install netcat-openbsd")
		}
		l, _ := listen(t, nil, "tcp", "127.0.0.1:0")
		host, port, _ := net.SplitHostPort(l.Addr().String())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, nc, "-N", host, port)
		cmd.Stdin = strings.NewReader(send)
		if got, err := cmd.CombinedOutput(); string(got) != want || err != nil {
			t.Errorf("nc -N printed %q, %v", got, err)
		}
	})
}

// Beyond the commands that may be open nothing is read until one is answered.
func TestCommandsOpenLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transport.Pipe(nil)
		defer near.Close()
		srv := quietServer(t, nil)
		m := srv.commandMode(nil)
		tr := newCommandConn(newLineConn(far, srv), codecOf(m, nil), &srv.ep.limits)
		go func() {
			for range maxOpenKeys + 1 {
				if _, err := io.WriteString(near, `{"action":"x"}`+"\n"); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 100)
		var last header
		for range maxOpenKeys {
			n, err := tr.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if last, _, err = parseHeader(buf[:n]); err != nil {
				t.Fatal(err)
			}
		}
		read := make(chan error, 2)
		next := func() { _, err := tr.Read(buf); read <- err }
		go next()
		synctest.Wait()
		if len(read) != 0 {
			t.Fatal("one more was read")
		}
		go io.Copy(io.Discard, near)
		if _, err := tr.Write(appendHeader(nil, FlagResponse, last.seq, "", nil, 0)); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		go next()
		synctest.Wait()
		tr.Close()
		if err := <-read; err == nil {
			t.Error("a closed connection was read")
		}
	})
}
