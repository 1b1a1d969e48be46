//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childRole is the environment variable that makes a test process a child, and
// says which.
const childRole = "FLYRPC_TEST_CHILD"

// child returns the command that runs this test as a child of that role.
func child(t *testing.T, role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildProcess$")
	cmd.Env = append(os.Environ(), childRole+"="+role, "GOCOVERDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	return cmd
}

// TestChildProcess is the child, not a test.
func TestChildProcess(t *testing.T) {
	role := os.Getenv(childRole)
	if role == "" {
		t.Skip("this is run by the other tests of this file")
	}
	c, err := Stdio()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println("a stray print, which must not get into what is sent")
	switch role {
	case "echo":
		_, err = io.Copy(c, c)
	case "deadline":
		err = childDeadlines(c)
	case "deaf":
		signal.Ignore(syscall.SIGPIPE, syscall.SIGTERM)
		_, _ = io.WriteString(c, "here")
		select {}
	case "fail":
		os.Exit(7)
	case "pipes":
		err = childPipes(c)
	case "twice":
		_, err = Stdio()
		fmt.Fprintf(c, "%v", err)
		err = nil
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

// childPipes tells whether pipes of the child's own are as in any process: none of them is its standard output.
func childPipes(c net.Conn) error {
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		r.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("writing to a pipe that nobody reads: %w", err)
		}
	}
	_, err := io.WriteString(c, "fine")
	return err
}

// childDeadlines tells whether the child's deadlines work.
func childDeadlines(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a Read with a deadline: %w", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ready"); err != nil {
		return err
	}
	_, err = io.Copy(c, c)
	return err
}

func startChild(t *testing.T, role string, opts *ChildOptions) *ChildConn {
	t.Helper()
	c, err := StartChild(child(t, role), opts)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestChildEcho(t *testing.T) {
	for _, role := range []string{"echo", "deadline"} {
		c := startChild(t, role, nil)
		if addr := c.RemoteAddr(); addr.Network() != "pipe" || !strings.Contains(addr.String(), os.Args[0]) {
			t.Errorf("the child's address is %v", addr)
		}
		if role == "deadline" {
			expect(t, c, "ready")
		}
		const size = 1 << 20
		written := goWriteAll(c, strings.Repeat("x", size))
		if n, err := io.CopyN(io.Discard, c, size); err != nil {
			t.Fatalf("read %d bytes: %v", n, err)
		}
		must(t, <-written)
		must(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := c.Read(make([]byte, 1))
		wantTimeout(t, "read", err)
		must(t, c.SetReadDeadline(time.Time{}))
		send(t, c, "bye")
		must(t, c.CloseWrite())
		expectEnd(t, c, "bye", nil)
		must(t, c.Close())
		wantClosed(t, "second Close", c.Close())
		if state := c.cmd.ProcessState; state == nil || !state.Success() {
			t.Errorf("the child has ended with %v", state)
		}
	}
}

// A child's other files don't become its standard input and output, which the system treats in another way: who writes to a
// standard output that nobody reads is killed.
func TestChildOwnPipes(t *testing.T) {
	c := startChild(t, "pipes", nil)
	expectEnd(t, c, "fine", nil)
	must(t, c.Close())
}

// A child that doesn't end is killed, and Close waits no longer than it should.
func TestChildKilled(t *testing.T) {
	c := startChild(t, "deaf", &ChildOptions{Wait: 50 * time.Millisecond})
	expect(t, c, "here")
	err := c.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "had not ended 50ms after its input, and was killed") {
		t.Errorf("Close: %v", err)
	}
}

func TestChildFails(t *testing.T) {
	c := startChild(t, "fail", nil)
	expectEnd(t, c, "", nil)
	err := c.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("Close: %v", err)
	}
}

func TestStdioOnce(t *testing.T) {
	c := startChild(t, "twice", nil)
	text, err := io.ReadAll(c)
	must(t, err)
	if !strings.Contains(string(text), "already closed") {
		t.Errorf("a second Stdio: %s", text)
	}
}

func TestStartChildErrors(t *testing.T) {
	for _, c := range []struct {
		cmd  *exec.Cmd
		says string
	}{
		{&exec.Cmd{Path: "x", Stdin: os.Stdin}, "leave Stdin and Stdout of the exec.Cmd nil"},
		{&exec.Cmd{Path: "x", Stdout: os.Stdout}, "leave Stdin and Stdout of the exec.Cmd nil"},
		{exec.Command(filepath.Join(t.TempDir(), "none")), "no such file"},
	} {
		if _, err := StartChild(c.cmd, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v doesn't say %q", err, c.says)
		}
	}
}

// A program that was started with a file or a terminal says how it is to be started.
func TestStdioNeedsPipes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	for _, c := range []struct{ in, out *os.File }{{null, w}, {r, null}} {
		like := child(t, "echo")
		cmd := exec.CommandContext(ctx, like.Path, like.Args[1:]...)
		cmd.Env, cmd.Stdin, cmd.Stdout = like.Env, c.in, c.out
		var said strings.Builder
		cmd.Stderr = &said
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(said.String(), "see transport.StartChild") {
			t.Errorf("%v: %s", err, said.String())
		}
	}
}

func TestFileConnErrors(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer file.Close()
	if _, err := NewFileConn(file, file, "a", "b"); !errors.Is(err, os.ErrNoDeadline) || !strings.Contains(err.Error(), file.Name()) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := file.Write([]byte("x")); err != nil {
		t.Errorf("the file was closed: %v", err)
	}
	r, w, err := os.Pipe()
	must(t, err)
	c, err := NewFileConn(r, w, "a", "b")
	must(t, err)
	must(t, c.CloseWrite())
	must(t, c.CloseWrite())
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	must(t, c.SetDeadline(time.Now().Add(time.Hour)))
	must(t, c.Close())
	for what, err := range map[string]error{
		"CloseWrite": c.CloseWrite(), "Close": c.Close(), "SetReadDeadline": c.SetReadDeadline(time.Time{}),
		"SetWriteDeadline": c.SetWriteDeadline(time.Time{}), "SetDeadline": c.SetDeadline(time.Time{}),
	} {
		wantClosed(t, what, err)
	}
	if c.LocalAddr().Network() != "pipe" || c.LocalAddr().String() != "a" || c.RemoteAddr().String() != "b" {
		t.Errorf("%v, %v", c.LocalAddr(), c.RemoteAddr())
	}
	if _, err := reopen(r); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reopening a file that is closed: %v", err)
	}
}
