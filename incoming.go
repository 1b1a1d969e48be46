package flyrpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// incoming is a request or message of the other end, from its arrival to the end of
// its handler. It holds the handler's Context, so that both take one allocation.
type incoming struct {
	context Context // the handler's
	conn    *Conn
	route   *route
	path    string
	params  []string
	flag    Flag
	seq     uint16
	strict  bool    // a version 2 request: it has its sequence to itself
	inline  bool    // handled on the reader
	long    bool    // what came in pieces is too long
	early   bool    // its handler replies before it returns; guarded by inbox.mu
	settled bool    // the handler's own goroutine answers
	gone    bool    // its handler has returned; guarded by inbox.mu
	loose   bool    // counts against the limit of packets without credit
	shared  bool    // payload belongs to the worker until the handler returns
	cost    int32   // what it took as a one-way message
	items   *Stream // nil until there is something for it; guarded by mu
	payload []byte
	whole   *pieces // the payload of what came in pieces, instead
	meta    []byte
	body    body
	at      time.Duration // when it came, by the age of the connection

	prev, next *incoming // in inbox.loose

	mu       sync.Mutex
	claimed  bool          // somebody answers, or has answered
	started  bool          // the handler has started
	replied  bool          // the response is about to be sent, or has been
	lent     bool          // payload is a buffer that goes back when the handler has returned; its own goroutine alone uses this
	parted   atomic.Bool   // it goes in pieces, from a worker if inline is true
	deadline time.Duration // by the age of the connection; 0 if there is none
	done     chan struct{} // nil until somebody asks for it
	err      error         // why the Context has ended
	extra    *extra        // nil until there is something for it; guarded by mu
}

// extra is what few packets need, so that the others are smaller: a server that is flooded takes that much less memory.
type extra struct {
	timer *time.Timer
	after []func()
	meta  []byte // the response's, which the handler has set
}

// more returns what few packets need. It is called with the lock held.
func (in *incoming) more() *extra {
	if in.extra == nil {
		in.extra = new(extra)
	}
	return in.extra
}

// cancel ends the handler's Context.
func (in *incoming) cancel(err error) {
	in.mu.Lock()
	if in.err != nil {
		in.mu.Unlock()
		return
	}
	in.err = err
	if in.done != nil {
		close(in.done)
	}
	var after []func()
	if x := in.extra; x != nil {
		if x.timer != nil {
			x.timer.Stop()
		}
		after, x.after = x.after, nil
	}
	in.mu.Unlock()
	for _, f := range after {
		if f != nil {
			go f()
		}
	}
}

// hasStarted reports whether the handler has started. Once the Context has ended that
// doesn't change any more.
func (in *incoming) hasStarted() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.started
}

// expire ends the handler's Context because its deadline has passed.
func (in *incoming) expire() { in.cancel(context.DeadlineExceeded) }

// doneChan returns the channel that is closed when the Context ends.
func (in *incoming) doneChan() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done == nil {
		in.done = make(chan struct{})
		if in.err != nil {
			close(in.done)
		} else if in.deadline != 0 {
			in.more().timer = time.AfterFunc(in.deadline-in.conn.age(), in.expire)
		}
	}
	return in.done
}

// ended returns why the Context has ended, or nil.
func (in *incoming) ended() error {
	in.mu.Lock()
	err, late := in.err, in.err == nil && in.deadline != 0 && in.conn.age() >= in.deadline
	in.mu.Unlock()
	if late {
		in.expire()
		return context.DeadlineExceeded
	}
	return err
}

// afterFunc arranges for f to run, on a goroutine of its own, when the Context ends.
func (in *incoming) afterFunc(f func()) (stop func() bool) {
	in.doneChan()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		go f()
		return func() bool { return false }
	}
	x := in.more()
	i, stopped := len(x.after), false
	x.after = append(x.after, f)
	return func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		if stopped || i >= len(x.after) {
			return false
		}
		stopped = true
		x.after[i] = nil
		for n := len(x.after); n > 0 && x.after[n-1] == nil; n-- {
			x.after = x.after[:n-1]
		}
		return true
	}
}

// size returns how many bytes a packet has that waits.
func (in *incoming) size() int {
	if in.whole != nil {
		return in.whole.n
	}
	return len(in.payload)
}
