package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// DefaultChildWait is how long Close waits for a child to end, unless
// ChildOptions says otherwise.
const DefaultChildWait = 3 * time.Second

// ChildOptions are the options of StartChild. nil and the zero value are the
// default.
type ChildOptions struct {
	// Wait is how long Close waits for the child to end by itself, before it kills
	// it. 0 or less means DefaultChildWait.
	Wait time.Duration
}

// ChildConn is the connection to a child process that StartChild has started.
type ChildConn struct {
	*FileConn
	cmd   *exec.Cmd
	wait  time.Duration
	ended chan struct{} // closed when the child has ended and left is set
	left  error
}

// StartChild starts cmd and returns the connection to it: what is written comes in
// on the child's standard input, and what it writes to its standard output is read.
// The child's end is Stdio. cmd is not started yet, has neither Stdin nor Stdout
// set, and belongs to the connection from then on. Its standard error is as cmd
// says: nowhere unless Stderr is set. opts may be nil.
//
// Deadlines need a system whose pipes have them, which Unix systems do and Windows
// doesn't: there StartChild fails with an error that matches os.ErrNoDeadline.
func StartChild(cmd *exec.Cmd, opts *ChildOptions) (*ChildConn, error) {
	wait := DefaultChildWait
	if opts != nil && opts.Wait > 0 {
		wait = opts.Wait
	}
	if cmd.Stdin != nil || cmd.Stdout != nil {
		return nil, errors.New("transport: StartChild: leave Stdin and Stdout of the exec.Cmd nil: they are the connection")
	}
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = wait // a grandchild may keep the standard error open
	}
	conn, err := startWithPipes(cmd)
	if err != nil {
		return nil, fmt.Errorf("transport: StartChild: %w", err)
	}
	c := &ChildConn{FileConn: conn, cmd: cmd, wait: wait, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.left = cmd.Wait()
	}()
	return c, nil
}

// startWithPipes starts cmd with a pipe to it and one from it. The child has
// its ends of them, and nobody else.
func startWithPipes(cmd *exec.Cmd) (*FileConn, error) {
	stdin, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	in, stdout, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	defer stdout.Close()
	conn, err := NewFileConn(in, out, "parent", "child")
	if err == nil {
		cmd.Stdin, cmd.Stdout = stdin, stdout
		if err = cmd.Start(); err == nil {
			conn.remote = FileAddr(cmd.Path + " (process " + strconv.Itoa(cmd.Process.Pid) + ")")
			return conn, nil
		}
	}
	in.Close()
	out.Close()
	return nil, err
}

// Close closes the child's standard input and output, waits until it has ended, and
// kills it if that takes longer than ChildOptions.Wait. When it returns, the process
// is gone. The error tells how the child ended, if not with status 0: an
// *exec.ExitError; and that it had to be killed. Later calls give net.ErrClosed.
func (c *ChildConn) Close() error {
	err := c.FileConn.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	timer := time.NewTimer(c.wait)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
		return c.failure("close", fmt.Errorf("the child had not ended %v after its input, and was killed: %w", c.wait, c.left))
	}
	if c.left != nil {
		return c.failure("close", fmt.Errorf("the child ended with an error: %w", c.left))
	}
	return err
}
