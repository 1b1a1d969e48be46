package flyrpc

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// slowClose is a connection whose Close takes a second, as that of one that has to be told does where nobody reads.
type slowClose struct{ net.Conn }

func (c slowClose) Close() error {
	time.Sleep(time.Second)
	return c.Conn.Close()
}

// TestServerCloseTogether: closing many connections takes no longer than closing the slowest of them.
func TestServerCloseTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, nil)
		for range 20 {
			near, far := transport.Pipe(nil)
			defer near.Close()
			go srv.ServeConn(slowClose{far})
		}
		synctest.Wait()
		begun := time.Now()
		srv.Close()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
	})
}
