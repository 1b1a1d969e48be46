package flyrpc

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

func twoMems() []transport.Transport {
	return []transport.Transport{transport.NewMem(), transport.NewMem()}
}

// flakyListener fails some times before it accepts.
type flakyListener struct {
	net.Listener
	fails atomic.Int32
	err   error
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, l.err
	}
	return l.Listener.Accept()
}

// passingError is as that of a process that has too many files open.
type passingError struct{}

func (passingError) Error() string   { return "too many open files" }
func (passingError) Timeout() bool   { return false }
func (passingError) Temporary() bool { return true }

func memListen(t *testing.T, mem *transport.Mem) net.Listener {
	t.Helper()
	table, err := transport.NewTable(mem)
	if err != nil {
		t.Fatal(err)
	}
	l, err := table.Listen(context.Background(), "mem://srv")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestServeRetriesAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := transport.NewMem()
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Logger: log})
		l := &flakyListener{Listener: memListen(t, mem), err: &net.OpError{Op: "accept", Err: passingError{}}}
		l.fails.Store(10)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		begin := time.Now()
		cli, err := Dial(context.Background(), "mem://srv", quietOpts(&ClientOpts{
			Transports: []transport.Transport{mem}, HelloTimeout: time.Minute,
		}))
		if err != nil {
			t.Fatal(err)
		}
		cli.Close()
		// 5, 10, 20 ... 640 ms, then 1 s and 1 s
		if d := time.Since(begin); d != 3275*time.Millisecond {
			t.Errorf("accepted after %v", d)
		}
		wantText(t, text.String(), "level=WARN", "too many open files", "mem://srv")
		srv.Close()
		if err := within(t, served); err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
}

func TestServeReturnsAcceptError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := transport.NewMem()
		srv := quietServer(t, nil)
		errBroken := errors.New("broken")
		l := &flakyListener{Listener: memListen(t, mem), err: errBroken}
		l.fails.Store(1)
		if err := srv.Serve(l); !errors.Is(err, errBroken) {
			t.Errorf("Serve returned %v", err)
		}
		memListen(t, mem).Close() // the name is free, so the listener was closed

		l = &flakyListener{Listener: memListen(t, mem)}
		time.AfterFunc(time.Second, func() { l.Close() })
		if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrServerClosed) {
			t.Errorf("with a listener that another has closed Serve returned %v", err)
		}
	})
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := transport.NewMem()
		srv := quietServer(t, &ServerOpts{Transports: []transport.Transport{mem}})
		errs := make(chan error, 2)
		for _, addr := range []string{"mem://a", "mem://b"} {
			go func() { errs <- srv.Listen(addr) }()
		}
		synctest.Wait()
		if err := srv.Listen("mem://a"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second Listen returned %v", err)
		}
		var addrErr *transport.AddrError
		if err := srv.Listen("carrier://pigeon"); !errors.As(err, &addrErr) {
			t.Errorf("with an unknown scheme Listen returned %v", err)
		}
		for _, addr := range []string{"mem://a", "mem://b"} {
			cli, err := Dial(context.Background(), addr, quietOpts(&ClientOpts{Transports: []transport.Transport{mem}}))
			if err != nil {
				t.Fatal(err)
			}
			defer cli.Close()
		}
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := within(t, errs); err != ErrServerClosed {
				t.Errorf("Listen returned %v", err)
			}
		}
		if err := srv.Listen("mem://c"); err != ErrServerClosed {
			t.Errorf("after Shutdown Listen returned %v", err)
		}
		memListen(t, mem).Close()
	})
}
