package flyrpc

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
)

// line is where calls and messages wait for a connection, in the order in which they came. The first leaves it when it is
// sent, and only then the next one's turn comes.
type line struct {
	n atomic.Int32 // how many wait

	mu    sync.Mutex
	first []*ticket
	bytes int
}

// ticket is a place in a line.
type ticket struct {
	size int
	turn chan struct{} // capacity 1: the first is to look for a connection again
	err  error         // why it isn't to wait any more; guarded by line.mu
	left bool          // guarded by line.mu
}

// join returns a place at the end, unless more than most bytes would wait then.
func (l *line) join(size, most int) (*ticket, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes+size > most && len(l.first) > 0 {
		return nil, localErr(Busy, NotSent, nil, "%d bytes wait for a connection already, and at most %d do (QueueBytes)", l.bytes, most)
	}
	t := &ticket{size: size, turn: make(chan struct{}, 1)}
	l.first = append(l.first, t)
	l.bytes += size
	l.n.Add(1)
	l.call()
	return t, nil
}

// leave takes t off the line, so that the next one's turn comes. t may be nil, or have left already.
func (l *line) leave(t *ticket) {
	if t == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	l.bytes -= t.size
	if l.first[0] == t {
		l.first = l.first[1:]
	} else {
		i := slices.Index(l.first, t)
		l.first = slices.Delete(l.first, i, i+1)
	}
	l.n.Add(-1)
	l.call()
}

// wake has the first look for a connection, as there may be one.
func (l *line) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call()
}

// call is wake that is called with the lock held.
func (l *line) call() {
	if len(l.first) > 0 {
		l.first[0].ring()
	}
}

// ring wakes who waits with t.
func (t *ticket) ring() {
	select {
	case t.turn <- struct{}{}:
	default:
	}
}

// fail has all give up that wait.
func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.first {
		if t.err == nil {
			t.err = err
		}
		t.ring()
	}
}

// holds reports whether t, which may be nil, is in the line.
func (l *line) holds(t *ticket) bool {
	if t == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !t.left
}

// look returns whether t is the first, and why it isn't to wait any more.
func (l *line) look(t *ticket) (isFirst bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.first) > 0 && l.first[0] == t, t.err
}

// hold waits until there is a connection for e, and for the turn of e if others wait too. tk is the place of e in the line, which it leaves
// when it is sent. It may be nil, before and after.
func (c *Client) hold(ctx context.Context, e *errand, not *balance.Target, tk *ticket) (*Conn, *balance.Target, *ticket, error) {
	if ctx.Err() != nil {
		return nil, nil, tk, ctxErr(ctx, NotSent, e.path)
	}
	if c.line.n.Load() == 0 {
		if conn, t, _ := c.pickOther(ctx, not); conn != nil {
			return conn, t, nil, nil
		}
	}
	if c.rec.FailFast {
		err := c.keepUp()
		conn, t, _ := c.pickOther(ctx, not)
		if conn == nil && err == nil {
			err = c.notConnected("and FailFast is set")
		}
		return conn, t, nil, err
	}
	var err error
	if !c.line.holds(tk) {
		if tk, err = c.line.join(c.sizeOf(e), c.rec.QueueBytes); err != nil {
			return nil, nil, nil, err
		}
	}
	if err = c.keepUp(); err != nil { // with a place in the line, so that what fails from now on isn't missed
		return nil, nil, tk, err
	}
	conn, t, err := c.await(ctx, e, tk, not)
	return conn, t, tk, err
}

// await waits for a connection with a place in the line.
func (c *Client) await(ctx context.Context, e *errand, tk *ticket, not *balance.Target) (*Conn, *balance.Target, error) {
	age := time.NewTimer(c.rec.QueueAge)
	defer age.Stop()
	for {
		isFirst, err := c.line.look(tk)
		if err != nil {
			return nil, nil, err
		}
		var again <-chan time.Time
		if isFirst {
			conn, t, err := c.pickOther(ctx, not)
			if conn != nil {
				return conn, t, nil
			}
			again = nextTrial(err)
		}
		select {
		case <-tk.turn:
		case <-again:
		case <-age.C:
			return nil, nil, c.notConnected("within QueueAge (" + c.rec.QueueAge.String() + ")")
		case <-ctx.Done():
			return nil, nil, ctxErr(ctx, NotSent, e.path+": waiting for a connection")
		}
	}
}

// nextTrial returns a channel on which it is told when there may be a target to be tried though nothing else happens, or nil.
func nextTrial(err error) <-chan time.Time {
	var none *balance.NoneError
	if !errors.As(err, &none) || none.Next <= 0 {
		return nil
	}
	return time.After(none.Next)
}

// sizeOf returns how many bytes a call or message takes that has to wait.
func (c *Client) sizeOf(e *errand) int {
	switch m := e.message.(type) {
	case io.Reader:
		return len(e.path)
	case []byte:
		return len(e.path) + len(m)
	case string:
		return len(e.path) + len(m)
	}
	ser := c.ep.sers[0]
	if m := c.ep.mode.Load(); m != nil {
		ser = m.ser
	}
	b, _, err := encodeBody(nil, e.message, ser, false)
	if err != nil {
		return len(e.path) // the call itself will say what is wrong
	}
	return len(e.path) + len(b)
}
