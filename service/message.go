package service

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// Incoming is a message or request that Next or All return. A request is open until Reply, or until its caller
// gives up. All methods may be called concurrently.
type Incoming struct {
	ctx    *flyrpc.Context
	reader io.Reader
	wait   bool
	cast   bool // it came with Send of an io.Reader, and is open until that was read
	bare   bool // it has no message beside what Read gives

	mu     sync.Mutex
	done   bool
	ending chan struct{} // closed when the handler may return
	result any
	err    error
}

// ErrNoReply is what Reply returns for what nobody waits for an answer to.
var ErrNoReply = errors.New("service: nobody waits for a reply: it came with Send, or its caller has given up")

// Next returns the next message or request, and waits for one until ctx ends. The error is ctx's, ErrBindingClosed when the binding was
// unbound and nothing is left, or why the subject can't be bound. Several goroutines may call it; each gets other messages.
//
// What is not taken waits: requests are answered BUSY when Opts.MaxCalls are open, and messages wait on the bus.
func (b *Binding) Next(ctx context.Context) (*Incoming, error) {
	if err := b.pull(); err != nil {
		return nil, err
	}
	select {
	case m := <-b.inbox:
		return m, nil
	default:
	}
	select {
	case m := <-b.inbox:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.finished:
		return nil, ErrBindingClosed
	}
}

// All yields what comes until ctx ends, or the binding is unbound and nothing is left. Each is as Next returns it.
func (b *Binding) All(ctx context.Context) iter.Seq[*Incoming] {
	return func(yield func(*Incoming) bool) {
		for {
			m, err := b.Next(ctx)
			if err != nil || !yield(m) {
				return
			}
		}
	}
}

// pull begins to take messages for Next.
func (b *Binding) pull() error {
	b.mu.Lock()
	state := b.state
	b.mu.Unlock()
	switch state {
	case pulled, unbound:
		return nil
	}
	return b.begin(pulled, b.offer)
}

// offer is the handler behind Next.
func (b *Binding) offer(ctx *flyrpc.Context, r io.Reader) (any, error) {
	ctx.Keep()
	p := ctx.Packet()
	m := &Incoming{ctx: ctx, reader: r, cast: isCast(ctx), ending: make(chan struct{})}
	m.wait = p.Flag&flyrpc.FlagWait != 0 && !m.cast
	m.bare = p.Flag&flyrpc.FlagStream != 0 && len(p.Payload) == 0 && ctx.MetaEntry(flyrpc.MetaSerializer) == nil // that of raw bytes and text says that there are some
	select {
	case b.inbox <- m:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !m.wait && !m.cast {
		return nil, nil
	}
	select {
	case <-m.ending:
		return m.result, m.err
	case <-ctx.Done():
		m.end(nil, ctx.Err())
		return m.result, m.err
	}
}

// end says how the handler returns. Only the first time counts.
func (m *Incoming) end(result any, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return false
	}
	m.done, m.result, m.err = true, result, err
	close(m.ending)
	return true
}

// Into decodes the message into v, a pointer to a struct, string or []byte, or whatever the serializer takes. What was sent as an io.Reader is
// read with Read, and is an error here, with BadRequest.
func (m *Incoming) Into(v any) error {
	if m.bare {
		return flyrpc.Errorf(flyrpc.BadRequest, "what came to %q has no message, only bytes or items: use Read", m.Subject())
	}
	return m.ctx.Decode(v)
}

// Read reads what was sent as bytes: those of an io.Reader as they come, of any size, or else those of the message. The error is io.EOF at the
// end, or an flyrpc.Error: the caller gave up, or a part was lost. What came with Send of an io.Reader holds up its sender until it was read to
// the end.
func (m *Incoming) Read(b []byte) (int, error) {
	n, err := m.reader.Read(b)
	if err != nil && m.cast {
		m.end(nil, nil)
	}
	return n, err
}

// Reply answers a request with a value, as Request takes it, or with an error. Of the replies of several instances, and of several Reply,
// the first counts. An io.Reader is sent before Reply returns. The error is ErrNoReply if nobody waits for one; the rest of an io.Reader that came with Send isn't
// read then.
func (m *Incoming) Reply(v any) error {
	if !m.wait {
		m.end(nil, nil)
		return ErrNoReply
	}
	if err, ok := v.(error); ok {
		return m.reply(nil, err)
	}
	r, ok := v.(io.Reader)
	if !ok {
		return m.reply(v, nil)
	}
	m.mu.Lock()
	done := m.done
	m.mu.Unlock()
	if done {
		return ErrNoReply
	}
	err := m.ctx.Stream().Send(r)
	if replyErr := m.reply(nil, err); err == nil {
		err = replyErr
	}
	return err
}

// reply ends the request.
func (m *Incoming) reply(v any, err error) error {
	if !m.end(v, err) {
		return ErrNoReply
	}
	return nil
}

// Waits reports whether the sender waits for a reply. Who has sent an io.Reader with Send waits for none.
func (m *Incoming) Waits() bool { return m.wait }

// Context ends when the caller of a request gives up, or its deadline passes.
func (m *Incoming) Context() *flyrpc.Context { return m.ctx }

// Subject returns the subject within the service that it was sent to.
func (m *Incoming) Subject() string { return SubjectOf(m.ctx.Path()) }

// Meta returns the metadata that the sender has set with flyrpc.WithMeta. The map is the caller's own.
func (m *Incoming) Meta() flyrpc.Metadata { return m.ctx.Meta() }

var _ context.Context = (*flyrpc.Context)(nil)
