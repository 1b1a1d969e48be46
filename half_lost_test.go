package flyrpc

import (
	"testing"
	"testing/synctest"
)

// TestHalfSentIsLost: of a request of which pieces were sent when the connection is lost some bytes have left: it was not
// processed, and not "not sent".
func TestHalfSentIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		done := make(chan error, 1)
		go func() { done <- cli.Connect(t.Context()) }()
		w.serverHello(`{"flyrpc":2,"serializers":["json"],"window":4096}`)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		call := cli.Go(t.Context(), "/x", make([]byte, 100_000), nil)
		for range 2 {
			if p := w.recv(); p.Code != pieceCode {
				t.Fatalf("got %+v", p)
			}
		}
		synctest.Wait()
		w.conn.Close()
		wantErr(t, call.Err(), Unavailable, NotProcessed)
		err := cli.Call(t.Context(), "/x", nil, nil)
		wantErr(t, err, Unavailable, NotSent)
	})
}
