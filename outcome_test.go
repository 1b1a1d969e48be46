package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-flyrpc/flyrpc/transport"
)

// cutRun is a conversation that is cut after so many bytes of one end.
type cutRun struct {
	t        *testing.T
	down     bool // the server's bytes count, else the client's
	at       int64
	together bool
	size     int
	ran      [3]atomic.Int32
	errs     [3]error
}

// run connects, cuts, makes three calls, and reports whether they went through.
func (r *cutRun) run() (whole bool) {
	srv := NewServer(&ServerOpts{Logger: new(pairLog).logger()})
	srv.OnMessage("/count/{i}", func(ctx *Context, b []byte) []byte {
		r.ran[ctx.Param("i")[0]-'0'].Add(1)
		return b
	})
	near, far := transport.Pipe(nil)
	served := make(chan struct{})
	go func() { defer close(served); srv.ServeConn(far) }()
	cli := NewClientConn(near, &ClientOpts{Logger: new(pairLog).logger()})
	defer func() { cli.Close(); srv.Close(); <-served }()
	if err := cli.Connect(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	cut := near
	if r.down {
		cut = far
	}
	cut.CloseAfter(r.at)
	r.call(cli)
	synctest.Wait()
	whole = true
	for i, err := range r.errs {
		r.check(i, err)
		whole = whole && err == nil
	}
	return whole
}

// call makes the calls, together or one after the other.
func (r *cutRun) call(cli *Client) {
	var wg sync.WaitGroup
	for i := range r.errs {
		one := func() {
			var reply []byte
			r.errs[i] = cli.Call(r.t.Context(), fmt.Sprint("/count/", i), make([]byte, r.size), &reply)
			if r.errs[i] == nil && len(reply) != r.size {
				r.t.Errorf("%v: an answer of %d bytes", r, len(reply))
			}
		}
		if r.together {
			wg.Go(one)
		} else {
			one()
		}
	}
	wg.Wait()
}

// check compares what a call's error says with what the handler did.
func (r *cutRun) check(i int, err error) {
	ran, d := r.ran[i].Load(), Outcome(err)
	switch {
	case ran > 1:
		r.t.Errorf("%v: call %d was handled %d times", r, i, ran)
	case (d == NotSent || d == NotProcessed) && ran != 0:
		r.t.Errorf("%v: call %d was handled, but is %v: %v", r, i, d, err)
	case d == Answered && ran != 1:
		r.t.Errorf("%v: call %d is answered and wasn't handled: %v", r, i, err)
	case err != nil && !errors.Is(err, Unavailable):
		r.t.Errorf("%v: call %d failed with %v", r, i, err)
	}
}

func (r *cutRun) String() string {
	return fmt.Sprintf("cut after %d bytes (down %v, together %v, size %d)", r.at, r.down, r.together, r.size)
}

// TestCutAtEveryByte cuts a connection at every byte of a conversation, in both directions: a
// call that is said to be not sent or not processed was never handled.
func TestCutAtEveryByte(t *testing.T) {
	for _, down := range []bool{false, true} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("down %v, together %v", down, together), func(t *testing.T) {
				unsent := 0
				for at := int64(0); ; at++ {
					r := &cutRun{down: down, together: together, at: at, size: 5}
					var whole bool
					synctest.Test(t, func(t *testing.T) {
						r.t = t
						whole = r.run()
					})
					for _, err := range r.errs {
						if Outcome(err) == NotSent {
							unsent++
						}
					}
					if whole {
						break
					}
					if at > 500 {
						t.Fatal("the conversation doesn't end")
					}
				}
				if unsent == 0 {
					t.Error("no call was said to be not sent")
				}
			})
		}
	}
}

// TestCutLargeRequest does so with requests that go out in several writes.
func TestCutLargeRequest(t *testing.T) {
	for _, size := range []int{largeBody - 1, largeBody, 100_000} {
		for _, at := range []int64{0, 1, 20, 1000, int64(size), int64(size) + 10, int64(size) + 100} {
			for _, down := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					r := &cutRun{t: t, down: down, together: true, at: at, size: size}
					r.run()
				})
			}
		}
	}
}

// TestPartitionedRequest: what was written and never arrived is of unknown outcome; what
// waits behind it was not sent.
func TestPartitionedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, &ClientOpts{MaxQueued: 1000}, func(srv *Server, cli *Client) {
			srv.OnMessage("/x", func([]byte) { t.Error("handled") })
		})
		p.up.SetPartition(true)
		written := p.cli.Go(t.Context(), "/x", make([]byte, 100), nil)
		p.cli.Go(t.Context(), "/x", make([]byte, transport.DefaultPipeBuffer), nil) // partly written
		queued := p.cli.Go(t.Context(), "/x", make([]byte, 1000), nil)
		ctx, cancel := context.WithCancel(t.Context())
		waits := make(chan error, 2)
		go func() { waits <- p.cli.Call(t.Context(), "/x", make([]byte, 1000), nil) }()
		go func() { waits <- p.cli.Call(ctx, "/x", make([]byte, 1000), nil) }()
		synctest.Wait()
		cancel()
		wantFailed(t, <-waits, Canceled, NotSent)
		p.up.Reset()
		wantFailed(t, written.Err(), Unavailable, Unknown)
		wantFailed(t, queued.Err(), Unavailable, NotSent)
		wantFailed(t, <-waits, Unavailable, NotSent)
		wantEmpty(t, "client", p.cc)
	})
}

// TestAnsweredOutcome: an answer from the handler, a failure that it returned included, is
// answered.
func TestAnsweredOutcome(t *testing.T) {
	own := errors.New("own")
	p := newPair(t, &ServerOpts{Errors: map[Code]error{"OWN": own}}, &ClientOpts{Errors: map[Code]error{"OWN": own}}, func(srv *Server, cli *Client) {
		srv.OnMessage("/own", func() error { return fmt.Errorf("it is my %w", own) })
		srv.OnMessage("/plain", func() error { return errors.New("plain") })
		srv.OnMessage("/code", func() error { return NotFound })
		srv.OnMessage("/number", func() int { return 7 })
	})
	ctx := bounded(t)
	if err := p.cli.Call(ctx, "/own", nil, nil); !errors.Is(err, own) || Outcome(err) != Answered {
		t.Error(err)
	}
	wantFailed(t, p.cli.Call(ctx, "/plain", nil, nil), Failed, Answered)
	wantFailed(t, p.cli.Call(ctx, "/code", nil, nil), NotFound, Answered)
	wantFailed(t, p.cli.Call(ctx, "/nobody", nil, nil), NotFound, NotProcessed)
	wantFailed(t, p.cli.Call(ctx, "/number", nil, new(point)), BadRequest, Answered)
	wantFailed(t, p.cli.Call(ctx, "/x\x00y", nil, nil), BadRequest, NotSent)
	wantFailed(t, p.cli.Call(ctx, "/x", func() {}, nil), BadRequest, NotSent)
	if Outcome(nil) != Answered || Outcome(errors.New("x")) != Unknown {
		t.Error("Outcome of what isn't an Error")
	}
	wantEmpty(t, "client", p.cc)
}
