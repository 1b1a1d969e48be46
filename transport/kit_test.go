//go:build unix

package transport_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
	"github.com/go-flyrpc/flyrpc/transport/transporttest"
)

func TestConformanceTCP(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Transport:  transport.TCP{},
		Addr:       func(testing.TB) string { return "tcp://127.0.0.1:0" },
		DialAddr:   func(l net.Listener) string { return "tcp://" + l.Addr().String() },
		WrongAddrs: []string{"tcp://localhost", "tcp://localhost:7000/path", "tcp://me:pass@localhost:7000", "tcp://localhost:7000?x=1"},
	})
}

func TestConformanceMem(t *testing.T) {
	var names atomic.Int32
	transporttest.Run(t, transporttest.Config{
		Transport:  transport.NewMem(),
		Addr:       func(testing.TB) string { return "mem://" + strconv.Itoa(int(names.Add(1))) },
		WrongAddrs: []string{"mem://", "mem://a/b", "mem://me@a"},
	})
}

func TestConformanceTLS(t *testing.T) {
	authority := transporttest.NewAuthority(t)
	for name, version := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Config{
				Transport: transport.TLS{Config: &tls.Config{
					Certificates: []tls.Certificate{authority.Certificate(t, "server")}, RootCAs: authority.Pool(), MaxVersion: version,
				}},
				Addr:               func(testing.TB) string { return "tls://127.0.0.1:0" },
				DialAddr:           func(l net.Listener) string { return "tls://" + l.Addr().String() },
				WrongAddrs:         []string{"tls://localhost", "tls://localhost:7000/path"},
				TimeoutEndsWriting: true,
			})
		})
	}
}

func TestConformanceUnix(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Transport:  transport.Unix{},
		Addr:       func(t testing.TB) string { return "unix://" + filepath.Join(t.TempDir(), "s") },
		WrongAddrs: []string{"unix://", "unix:///", "ipc://dir/", "unix://me:pass@x/y", "unix:///a?b=c"},
	})
}

func TestConformanceUnixAbstract(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has abstract names")
	}
	var names atomic.Int32
	transporttest.Run(t, transporttest.Config{
		Transport: transport.Unix{},
		Addr: func(testing.TB) string {
			return "ipc://@flyrpc-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(int(names.Add(1)))
		},
		WrongAddrs: []string{"unix://@"},
	})
}

// The ends of memory pipes and of the system's.
func TestConformancePairs(t *testing.T) {
	t.Run("mem", func(t *testing.T) {
		transporttest.Run(t, transporttest.Config{Pair: func(testing.TB) (a, b net.Conn) { return transport.Pipe(&transport.PipeOptions{Buffer: 100}) }})
	})
	t.Run("slow", func(t *testing.T) {
		transporttest.Run(t, transporttest.Config{Pair: func(testing.TB) (a, b net.Conn) {
			x, y := transport.Pipe(nil)
			for _, c := range []*transport.MemConn{x, y} {
				c.SetDelay(50 * time.Microsecond)
				c.SetChunk(1000)
			}
			return x, y
		}})
	})
	t.Run("files", func(t *testing.T) { transporttest.Run(t, transporttest.Config{Pair: filePair}) })
}

// filePair is what a parent and its child have.
func filePair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	var files [4]*os.File
	for i := 0; i < 4; i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		files[i], files[i+1] = r, w
	}
	a, err := transport.NewFileConn(files[0], files[3], "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	b, err = transport.NewFileConn(files[2], files[1], "b", "a")
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}
