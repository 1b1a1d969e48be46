//go:build unix

package flyrpc

import (
	"os"
	"os/exec"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
)

// inChild is the environment variable that makes a test process a child that serves.
const inChild = "FLYRPC_TEST_SERVE"

// TestServeInChild is the child of TestChildProcess, not a test.
func TestServeInChild(t *testing.T) {
	if os.Getenv(inChild) == "" {
		t.Skip("this is run by TestChildProcess")
	}
	conn, err := transport.Stdio()
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(&ServerOpts{TLS: newTLSWorld(t).server}) // pipes may be plain
	srv.OnMessage("/pid", os.Getpid)
	srv.OnMessage("/ask", func(ctx *Context) (answer string, err error) {
		err = ctx.Call("/answer", nil, &answer)
		return answer + "!", err
	})
	srv.ServeConn(conn)
	srv.Close()
	os.Exit(0)
}

// A child process is called over its standard input and output, and calls back.
func TestChildProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeInChild$")
	cmd.Env = append(os.Environ(), inChild+"=1", "GOCOVERDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	conn, err := transport.StartChild(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	cli := NewClientConn(conn, quietOpts(nil))
	cli.OnMessage("/answer", func() string { return "yes" })
	if pid, err := Call[int](bounded(t), cli, "/pid", nil); pid != cmd.Process.Pid || err != nil {
		t.Errorf("process %d answered, %v; want %d", pid, err, cmd.Process.Pid)
	}
	if answer, err := Call[string](bounded(t), cli, "/ask", nil); answer != "yes!" || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	cli.Close()
	if state := cmd.ProcessState; state == nil || !state.Success() {
		t.Errorf("the child has ended with %v", state)
	}
}
