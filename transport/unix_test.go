//go:build unix

package transport

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestUnixRoundTrip(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.Mkdir("run", 0o700))
	table := newTable(t)
	addrs := []string{"unix://fly.sock", "unix://./dot.sock", "ipc://run/fly.sock", "unix://run/a%20b", "unix://" + t.TempDir() + "/s"}
	if runtime.GOOS == "linux" {
		addrs = append(addrs, "unix://@"+t.TempDir())
	}
	for _, addr := range addrs {
		l := listen(t, table, addr)
		a, err := table.Dial(t.Context(), addr)
		must(t, err)
		defer a.Close()
		b, err := l.Accept()
		must(t, err)
		defer b.Close()
		for _, c := range []net.Conn{a, b} {
			if _, ok := Raw(c); !ok {
				t.Errorf("%s: no RawConn for %T", addr, c)
			}
		}
		send(t, a, "question")
		expect(t, b, "question")
	}
	if _, err := os.Stat("run/a b"); err != nil {
		t.Error(err)
	}
}

func TestUnixAddrErrors(t *testing.T) {
	table := newTable(t)
	for _, c := range []struct{ addr, says string }{
		{"unix://", "a Unix socket's address names no file; write unix:///absolute/path.sock or unix://./relative/path.sock"},
		{"unix:///", "names no file"},
		{"ipc://dir/", "a Unix socket's address names no file"},
		{"unix:///a?mode=600", "takes no query"},
		{"unix:///a#b", "takes no fragment"},
		{"unix://me:secret@a/b", "takes no user or password"},
		{"unix://me@a/b", "takes no user or password"},
		{"unix:///a%00b", "has a zero byte"},
		{"unix:///" + strings.Repeat("a", 200), "has a path of 201 bytes, and the system takes at most"},
	} {
		_, err := table.Dial(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
		_, err = table.Listen(t.Context(), c.addr)
		wantAddrError(t, c.addr, err, c.says)
	}
	_, err := Unix{}.Dial(t.Context(), &url.URL{Scheme: "unix", Opaque: "x"})
	wantAddrError(t, "opaque", err, `has "://" after its scheme`)
	if runtime.GOOS != "linux" {
		_, err := table.Dial(t.Context(), "unix://@name")
		wantAddrError(t, "abstract", err, "only Linux has")
	}
}

// The longest path that is let through is one that the system takes.
func TestUnixLongestPath(t *testing.T) {
	t.Chdir(t.TempDir())
	name := strings.Repeat("a", maxUnixPath)
	listen(t, newTable(t), "unix://"+name)
	_, err := newTable(t).Listen(t.Context(), "unix://a"+name)
	wantAddrError(t, name, err, "at most")
}

// stale makes the file of a socket that nobody listens on.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close())
}

func TestUnixReplacesStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	table := newTable(t)
	stale(t, path)
	_, err := table.Dial(t.Context(), "unix://"+path)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the socket isn't stale: %v", err)
	}
	l := listen(t, table, "unix://"+path)
	c, err := table.Dial(t.Context(), "unix://"+path)
	must(t, err)
	must(t, c.Close())
	must(t, l.Close())
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close the file is still there: %v", err)
	}
	wantClosed(t, "second Close", l.Close())
}

func TestUnixKeepsWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	table := newTable(t)
	inUse := func(name, says string) {
		t.Helper()
		_, err := table.Listen(t.Context(), "unix://"+filepath.Join(dir, name))
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want EADDRINUSE and %q", name, err, says)
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	l := listen(t, table, "unix://"+filepath.Join(dir, "live"))
	inUse("live", "somebody listens on it")
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	inUse("file", "is no socket")
	c, err := table.Dial(t.Context(), "unix://"+filepath.Join(dir, "live"))
	must(t, err)
	defer c.Close()
	b, err := l.Accept()
	must(t, err)
	must(t, b.Close())
	datagrams, err := net.ListenPacket("unixgram", filepath.Join(dir, "datagrams"))
	must(t, err)
	defer datagrams.Close()
	inUse("datagrams", "is not known")
}

// A file that has replaced the listener's is left alone.
func TestUnixRemovesOnlyItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	table := newTable(t)
	first := listen(t, table, "unix://"+path)
	must(t, os.Remove(path))
	listen(t, table, "unix://"+path)
	must(t, first.Close())
	c, err := table.Dial(t.Context(), "unix://"+path)
	must(t, err)
	must(t, c.Close())
}

// The file is removed wherever the working directory is by then.
func TestUnixRemovesAfterChdir(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	l := listen(t, newTable(t), "unix://s")
	t.Chdir(t.TempDir())
	must(t, l.Close())
	if _, err := os.Lstat(filepath.Join(dir, "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestUnixMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o666, 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		listen(t, newTable(t, Unix{Mode: mode}), "ipc://"+path)
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("mode %v, want %v", got, mode)
		}
	}
}

func TestUnixListenFails(t *testing.T) {
	_, err := newTable(t).Listen(t.Context(), "unix://"+t.TempDir()+"/none/s")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listen in a directory that isn't there: %v", err)
	}
	if err := removeStale(t.Context(), filepath.Join(t.TempDir(), "s")); err != nil {
		t.Errorf("a stale socket that has gone: %v", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := removeStale(ctx, path); !errors.Is(err, syscall.EADDRINUSE) || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that had ended: %v", err)
	}
}
