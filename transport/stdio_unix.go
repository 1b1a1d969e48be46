//go:build unix

package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Stdio returns the connection to the program that has started this one with
// StartChild, or in another way with pipes or sockets as standard input and output:
// it reads the one and writes the other. From then on os.Stdin and os.Stdout are
// closed, so that a stray print can't get into what is sent: print to os.Stderr. A
// second call fails.
//
// The files are switched to nonblocking mode, for their deadlines. So it refuses
// anything but pipes and sockets, which nobody else may share.
func Stdio() (*FileConn, error) {
	in, err := reopen(os.Stdin)
	if err != nil {
		return nil, err
	}
	out, err := reopen(os.Stdout)
	if err != nil {
		in.Close()
		return nil, err
	}
	c, err := NewFileConn(in, out, "child", "parent")
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	replace(os.Stdin)
	replace(os.Stdout)
	return c, nil
}

// replace closes a standard file and has the null device take its number, for good: a pipe that was opened later and
// had the number of the standard output would kill the process that writes to it when nobody reads.
func replace(f *os.File) {
	f.Close()
	_, _ = syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
}

// reopen returns a pipe or socket again, as a file with deadlines.
func reopen(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("transport: Stdio: %w", err)
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) == 0 {
		return nil, fmt.Errorf("transport: Stdio: %s is no pipe: this program is to be started by one that speaks to it, see transport.StartChild", f.Name())
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("transport: Stdio: %w", err)
	}
	var fd int
	var failure error
	err = raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock() // a child started meanwhile must not inherit it
		defer syscall.ForkLock.RUnlock()
		if fd, failure = syscall.Dup(int(old)); failure == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err = errors.Join(err, failure); err != nil {
		return nil, fmt.Errorf("transport: Stdio: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("transport: Stdio: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
