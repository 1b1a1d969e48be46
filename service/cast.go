package service

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

const (
	// castTime is how long instances may take to say that they take a cast.
	castTime = graceTime
	// castRead is how many bytes of a cast are read at once.
	castRead = 32 << 10
	// maxMembers is how many instances get a cast.
	maxMembers = 1 << 10
)

var (
	// errSlow is why an instance is given up.
	errSlow = errors.New("it took nothing of what was sent while others waited for it")
	// errNotRead is why a member finds no end of a cast: its reader wasn't read to the end.
	errNotRead = errors.New("the rest isn't sent, as Send has ended")
)

// cast is an io.Reader that is sent to all instances that take it. They are asked first, and each that says yes is a member then: it gets a call of
// its own. All of them read what is kept here.
type cast struct {
	ctx    context.Context // of Send
	client *flyrpc.Client  // of the link
	link   *link           // for casts
	path   string
	invite *call         // what asks for members
	slow   time.Duration // how long a member may hold the others up

	news chan struct{} // capacity 1: what Send waits for may have come

	mu      sync.Mutex
	added   chan struct{} // closed when there is more for members
	kept    []byte        // what was read, from base on
	base    int64
	end     error // why nothing more is read: io.EOF, in order
	members map[uint64]*member
	open    int   // members that aren't done
	joining bool  // there may be more
	begun   bool  // a handler may have
	failed  error // of the first instance that has
}

// cast sends an io.Reader to all instances that take it.
func (c *Client) cast(ctx context.Context, subject string, r io.Reader) error {
	if err := c.checkTarget(SubjectOf(subject)); err != nil {
		return flyrpc.Errorf(flyrpc.BadRequest, "%w", err).WithDelivery(flyrpc.NotSent)
	}
	if err := ctx.Err(); err != nil { // before anybody is asked
		return ctxError(err, flyrpc.NotSent)
	}
	e, err := c.svc.entry(linkKey{c.target, forCasts})
	if err != nil {
		return flyrpc.Errorf(flyrpc.Unavailable, "%w", err).WithDelivery(flyrpc.NotSent)
	}
	s := &cast{
		ctx: ctx, client: e.client, link: e.link, path: subject, slow: c.svc.opts.SendTimeout,
		news: make(chan struct{}, 1), added: make(chan struct{}), members: map[uint64]*member{}, joining: true,
	}
	if err := e.link.ask(s); err != nil {
		return flyrpc.Errorf(codeOf(err), "%w", err).WithDelivery(flyrpc.NotSent)
	}
	time.AfterFunc(castTime, s.close)
	defer s.stop(errNotRead)
	if err := s.gather(); err != nil {
		return err
	}
	s.read(r)
	return s.finish()
}

// gather waits until somebody takes the cast.
func (s *cast) gather() error {
	if err := s.wait(func() bool { return len(s.members) > 0 || !s.joining }); err != nil {
		return ctxError(err, flyrpc.NotSent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.members) > 0:
		return nil
	case s.failed != nil:
		return s.failed
	}
	return errNobody(s.invite.subject)
}

// errNobody says that no instance takes a cast.
func errNobody(subject string) error {
	return flyrpc.Errorf(flyrpc.Unavailable, "nobody serves %q", subject).WithDelivery(flyrpc.NotProcessed)
}

// ctxError is the error of a context that has ended.
func ctxError(err error, d flyrpc.Delivery) error {
	code := flyrpc.Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		code = flyrpc.Timeout
	}
	return flyrpc.Errorf(code, "%w", err).WithDelivery(d)
}

// read reads r to its end, as far as members let it.
func (s *cast) read(r io.Reader) {
	buf := make([]byte, castRead)
	for s.ctx.Err() == nil && s.wait(s.roomy) == nil && s.taken() {
		n, err := r.Read(buf)
		s.add(buf[:n])
		if err != nil {
			s.stop(err)
			return
		}
	}
}

// taken reports whether there is anybody to read for.
func (s *cast) taken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open > 0 || s.joining
}

// roomy reports whether there is room for more, or nobody to read for, and drops what all members have. It is called with mu held.
func (s *cast) roomy() bool {
	if !s.joining {
		if s.open == 0 {
			return true
		}
		least := s.base + int64(len(s.kept))
		for _, m := range s.members {
			if !m.done {
				least = min(least, m.at)
			}
		}
		if n := int(least - s.base); n == len(s.kept) || n >= window/4 { // less isn't worth moving the rest
			s.kept = append(s.kept[:0], s.kept[n:]...)
			s.base = least
		}
	}
	return len(s.kept)+castRead <= window
}

// finish waits until the members are done, and nobody joins any more. It returns what has failed.
func (s *cast) finish() error {
	s.stop(errNotRead)
	err := s.wait(func() bool { return s.open == 0 && !s.joining })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joining = false
	if err == nil && s.failed != nil {
		err = s.ctx.Err() // which is why
	}
	if err != nil {
		return ctxError(err, flyrpc.Unknown)
	}
	var e *flyrpc.Error
	if s.begun && errors.As(s.failed, &e) { // which may say that it was not processed, by one of several
		return e.WithDelivery(flyrpc.Unknown)
	}
	return s.failed
}

// wait waits until done, which is called with mu held, or Send's context ends. Meanwhile it gives up members that hold up others.
func (s *cast) wait(done func() bool) error {
	var tick *time.Ticker
	for {
		s.mu.Lock()
		ok := done()
		s.mu.Unlock()
		if ok {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(s.slow)
			defer tick.Stop()
		}
		select {
		case <-s.news:
		case <-tick.C:
			s.dropSlow()
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// dropSlow gives up members that have taken nothing for long, if others have all that was read and wait for more.
func (s *cast) dropSlow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil { // there is no more
		return
	}
	end, waits := s.base+int64(len(s.kept)), false
	for _, m := range s.members {
		waits = waits || !m.done && m.at == end
	}
	for _, m := range s.members {
		if waits && !m.done && m.at < end && time.Since(m.moved) >= s.slow {
			m.cancel(errSlow)
		}
	}
}

// add adds what was read.
func (s *cast) add(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) > 0 {
		s.kept = append(s.kept, b...)
		s.wakeMembers()
	}
}

// stop says why nothing more is read. The first reason counts.
func (s *cast) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = err
		s.wakeMembers()
	}
}

// fail notes what has failed. last says that nobody joins any more.
func (s *cast) fail(err error, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
	s.joining = s.joining && !last
	poke(s.news)
}

// close has nobody join any more.
func (s *cast) close() {
	s.mu.Lock()
	s.joining = false
	poke(s.news)
	s.mu.Unlock()
	s.link.endAsking(s.invite)
}

// wakeMembers has members look at what there is. It is called with mu held.
func (s *cast) wakeMembers() {
	close(s.added)
	s.added = make(chan struct{})
}
