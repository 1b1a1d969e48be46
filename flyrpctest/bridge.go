package flyrpctest

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
)

// bridge returns an end of a pipe whose other end is connected to nc by two goroutines, so that
// faults can be injected between the program and a real socket.
func bridge(t testing.TB, nc net.Conn) *conn {
	near, far := transport.Pipe(nil)
	sent := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(sent)
		_, err := io.Copy(nc, far)
		if err == nil {
			err = closeWrite(nc)
		}
		if err != nil {
			far.CloseAfter(0)
			abort(nc)
		}
	})
	wg.Go(func() {
		_, err := io.Copy(far, nc)
		switch {
		case err == nil:
			err = far.CloseWrite()
		case errors.Is(err, net.ErrClosed):
			return // near was closed
		}
		if err != nil {
			far.CloseAfter(0)
			abort(nc)
		}
	})
	var once sync.Once
	// What the program has sent before Close is still delivered.
	closed := func() { once.Do(func() { wg.Go(func() { <-sent; nc.Close() }) }) }
	t.Cleanup(func() {
		near.Reset()
		near.Close()
		closed()
		wg.Wait()
		far.Close()
	})
	return &conn{MemConn: near, local: nc.LocalAddr(), remote: nc.RemoteAddr(), closed: closed}
}

// closeWrite ends what is sent, or all if the connection can't be closed by halves.
func closeWrite(nc net.Conn) error {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok {
		return nc.Close()
	}
	err := half.CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) || errors.Is(err, net.ErrClosed) {
		return nil // the other side has gone
	}
	return err
}

// abort closes a connection with a reset, where there is such a thing.
func abort(nc net.Conn) {
	if tcp, ok := nc.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}
