package flyrpc

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// A reader whose stream was closed, or whose context has ended, reads nothing any more: what lay
// in its buffers may be another stream's by then.
func TestReaderEndsAtOnce(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { streamHandlers(srv) })
	for name, leave := range map[string]func(io.Closer, func()){
		"close":   func(r io.Closer, _ func()) { r.Close() },
		"context": func(_ io.Closer, cancel func()) { cancel() },
	} {
		for _, n := range []int{30000, 1 << 20} {
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			r, err := Call[io.ReadCloser](ctx, p.cc, "/split", n)
			if err != nil {
				t.Fatal(err)
			}
			st := r.(*itemReader).s
			leave(r, cancel)
			if !eventually(func() bool { st.recvMu.Lock(); defer st.recvMu.Unlock(); return st.result != nil }) {
				t.Fatal("the stream hasn't ended")
			}
			if m, err := r.Read(make([]byte, 100)); m != 0 || err == nil {
				t.Errorf("%s, %d bytes: read %d, %v", name, n, m, err)
			}
			if m, err := io.Copy(io.Discard, r); m != 0 || err == nil {
				t.Errorf("%s, %d bytes: copied %d, %v", name, n, m, err)
			}
		}
	}
}

// Close returns, and the handler is cancelled, also while somebody copies from the reader to where
// nothing is taken.
func TestReaderCloseWhileCopied(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { streamHandlers(srv) })
	r, err := Call[io.ReadCloser](bounded(t), p.cc, "/split", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	from, to := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, r)
		copied <- err
	}()
	if _, err := from.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("Close waits for what is copied")
	}
	from.Close()
	if err := within(t, copied); err == nil {
		t.Error("no error of what was copied")
	}
}

// A reader is read wherever it is a message, or refused; it never goes out as what a serializer makes of it.
func TestReaderAsMessage(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { streamHandlers(srv) })
	ctx := bounded(t)
	var data []byte
	if err := p.cc.Go(ctx, "/join", strings.NewReader("four"), &data).Err(); err != nil || string(data) != "four" {
		t.Errorf("Go: %q, %v", data, err)
	}
	var r io.ReadCloser
	if err := p.cc.Go(ctx, "/split", 5, &r).Err(); err != nil {
		t.Errorf("Go: %v", err)
	} else if b, err := io.ReadAll(r); len(b) != 5 || err != nil {
		t.Errorf("Go: %q, %v", b, err)
	}
	wantFailed(t, p.cc.SendMessage(ctx, "/join", strings.NewReader("four")), BadRequest, NotSent)
	_, err := p.cc.OpenStream(ctx, "/join", strings.NewReader("four"))
	wantFailed(t, err, BadRequest, NotSent)
	for _, err := range Receive[[]byte](ctx, p.cc, "/join", strings.NewReader("four")) {
		wantFailed(t, err, BadRequest, NotSent)
	}
}

// A connection that closes between a call's taking a sequence and its taking a stream has answered it
// by then: the caller must find that answer, and nobody look at the stream.
func TestStreamOfClosedConn(t *testing.T) {
	p := newPair(t, nil, nil, nil)
	ctx := bounded(t)
	s, _, err := p.cc.calls.acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.cc.Close()
	st, err := p.cc.streamOf(ctx, s)
	if st != nil {
		t.Error("it has a stream")
	}
	wantFailed(t, err, Unavailable, NotSent)
	withdrawn := make(chan struct{})
	go func() { p.cc.calls.withdraw(s); close(withdrawn) }()
	within(t, withdrawn)
}
