package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	schemeUnix = "unix"
	schemeIPC  = "ipc"
)

// maxUnixPath is the longest path of a socket, in bytes: the system's structure
// holds a zero byte behind it.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Unix is the Transport for Unix domain sockets, "unix://" or "ipc://" and the
// path of the socket's file. The zero value is ready.
//
//   - unix:///run/fly.sock is the absolute path /run/fly.sock.
//   - unix://fly.sock, unix://./fly.sock and unix://run/fly.sock are relative to
//     the working directory. Before the first slash a path has none but a host
//     name's characters.
//   - unix://@name is an abstract name, which has no file. Only Linux has these.
//
// The connections it dials and accepts are *net.UnixConn, so [Raw] works on
// them.
type Unix struct {
	// Mode are the permission bits of the file of a socket that is listened on:
	// whoever may write to it may connect. 0 means what the process's umask
	// leaves. An abstract name has no permissions: every local user may connect.
	Mode fs.FileMode
}

// Schemes returns "unix" and "ipc".
func (Unix) Schemes() []string { return []string{schemeUnix, schemeIPC} }

// Dial connects to the socket that addr names.
func (Unix) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	path, err := unixPath(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// Listen makes the socket that addr names and listens on it. The file of a socket
// that nobody listens on any more, as a process that was killed leaves it, is
// replaced. One that somebody listens on gives syscall.EADDRINUSE, and so does a
// file that is no socket. Closing the listener removes the file, unless it is
// another's by then. Two processes must not replace the same socket at the same
// time: one of them could end up with a socket whose file is gone.
func (u Unix) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	path, err := unixPath(addr)
	if err != nil {
		return nil, err
	}
	l, err := u.listen(ctx, path)
	if errors.Is(err, syscall.EADDRINUSE) && !isAbstract(path) {
		if err := removeStale(ctx, path); err != nil {
			return nil, &net.OpError{Op: "listen", Net: schemeUnix, Addr: unixAddr(path), Err: err}
		}
		l, err = u.listen(ctx, path)
	}
	return l, err
}

// listen binds the socket and gives its file the mode.
func (u Unix) listen(ctx context.Context, path string) (net.Listener, error) {
	mode := u.Mode.Perm()
	var lc net.ListenConfig
	if mode != 0 {
		// Where the system takes it, the file never has more permissions.
		lc.Control = func(_, _ string, raw syscall.RawConn) error { return presetMode(raw, mode) }
	}
	listener, err := lc.Listen(ctx, "unix", path)
	if err != nil || isAbstract(path) {
		return listener, err
	}
	l := &unixListener{UnixListener: listener.(*net.UnixListener)}
	l.SetUnlinkOnClose(false)
	if err := l.adopt(path, mode); err != nil {
		l.Close()
		return nil, &net.OpError{Op: "listen", Net: schemeUnix, Addr: unixAddr(path), Err: err}
	}
	return l, nil
}

// unixListener removes the file that it has made.
type unixListener struct {
	*net.UnixListener
	path string // absolute, so that it holds when the working directory changes
	file fs.FileInfo
}

// adopt remembers the file at path as the listener's and gives it the mode, if
// there is one.
func (l *unixListener) adopt(path string, mode fs.FileMode) (err error) {
	if l.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if l.file, err = os.Lstat(l.path); err != nil {
		return err
	}
	if mode == 0 {
		return nil
	}
	return os.Chmod(l.path, mode)
}

// Close removes the file, if it is still the listener's, and wakes Accept. The
// connections that were accepted go on.
func (l *unixListener) Close() error {
	if l.file != nil && isFile(l.path, l.file) {
		_ = os.Remove(l.path) // before the socket is gone: afterwards it could be another's
	}
	return l.UnixListener.Close()
}

// isFile reports whether path is still that file.
func isFile(path string, file fs.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(now, file)
}

// removeStale removes the file of a socket that nobody listens on, or says why
// it can't be replaced.
func removeStale(ctx context.Context, path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed just now
	}
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: the file is there already and is no socket", syscall.EADDRINUSE)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("%w: somebody listens on it", syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: the socket is there already, and whether somebody listens on it is not known: %w", syscall.EADDRINUSE, err)
	}
	if !isFile(path, file) {
		return fmt.Errorf("%w: somebody else has just replaced it", syscall.EADDRINUSE)
	}
	return os.Remove(path)
}

// unixPath returns what package net takes for a unix URL.
func unixPath(u *url.URL) (string, error) {
	path, problem := unixName(u)
	switch {
	case problem != "":
	case path == "" || path == "@" || strings.HasSuffix(path, "/"):
		problem = "names no file; write unix:///absolute/path.sock or unix://./relative/path.sock"
	case strings.ContainsRune(path, 0):
		problem = "has a zero byte in its path"
	case len(path) > maxUnixPath:
		problem = "has a path of " + strconv.Itoa(len(path)) + " bytes, and the system takes at most " + strconv.Itoa(maxUnixPath)
	default:
		return path, nil
	}
	return "", &AddrError{u.Redacted(), "a Unix socket's address " + problem}
}

// unixName returns the path or the abstract name in u, or what is wrong with u.
func unixName(u *url.URL) (path, problem string) {
	bare := *u
	bare.User, bare.Path, bare.RawPath = nil, "", ""
	var wrong *AddrError
	if errors.As(onlyHost(&bare), &wrong) {
		return "", strings.TrimPrefix(wrong.Problem, "a "+u.Scheme+" address ")
	}
	path = u.Host + u.Path
	if u.User == nil {
		return path, ""
	}
	if _, password := u.User.Password(); password || u.User.Username() != "" {
		return "", "takes no user or password"
	}
	if runtime.GOOS != "linux" {
		return "", "that starts with \"@\" is an abstract name, which only Linux has"
	}
	return "@" + path, ""
}

func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

func unixAddr(path string) net.Addr { return &net.UnixAddr{Name: path, Net: "unix"} }
