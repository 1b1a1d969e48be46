package service

import (
	"context"
	"io"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// Client calls a service by its name, whichever instances of it there are. It is a flyrpc.Caller: what flyrpc.Call, Receive, Upload and
// Exchange do with a connection they do with it. A path is a subject within the service, or a path with slashes that SubjectOf makes
// one of. The methods that it has of flyrpc.Client beside those of Caller concern the link to the bus: Close, for one, ends it for all who
// have the same Client.
//
// Errors are those of a connection, with these that are the bus's:
//
//   - UNAVAILABLE, not processed, at once, if no instance has bound the subject.
//   - TIMEOUT when the context ends, which is also what becomes of a request whose instance was killed: the bus tells nobody.
//     A call with items fails with UNAVAILABLE within two of Opts.ProbeTime.
//   - UNAVAILABLE with an unknown outcome if a part of a large request or answer was lost on the way.
type Client struct {
	*flyrpc.Client
	svc    *Service
	target string
	around int // bytes of a subject on the bus that aren't of that within the service
}

var _ flyrpc.Caller = (*Client)(nil)

// Service returns a client of the service of a name, which need not be there yet. It is the same each time. If it can't be made, because the
// name is none or the bus is closed, all its calls fail with the reason.
func (s *Service) Service(name string) *Client {
	return &Client{Client: s.client(linkKey{target: name}), svc: s, target: name, around: len(s.opts.subject(name, ""))}
}

// Self returns a client of this service, whose instances this one is among.
func (s *Service) Self() *Client { return s.Service(s.name) }

// client returns the client of a link, which is made if there is none.
func (s *Service) client(k linkKey) *flyrpc.Client {
	e, err := s.entry(k)
	if err != nil {
		return brokenClient(err)
	}
	return e.client
}

// entry returns a link and its client.
func (s *Service) entry(k linkKey) (*linkEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.links[k]; e != nil {
		return e, nil
	}
	err := checkServiceName(k.target)
	if s.closed {
		err = ErrClosed
	}
	var e linkEntry
	if err == nil {
		e.link, e.client, err = newLink(s, k)
	}
	if err != nil {
		return nil, err
	}
	s.links[k] = &e
	return &e, nil
}

// brokenClient returns a client whose calls fail.
func brokenClient(err error) *flyrpc.Client {
	return flyrpc.NewClient("bus", &flyrpc.ClientOpts{DialFunc: failingDial(err)})
}

// lost forgets a link that has ended.
func (s *Service) lost(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := (linkKey{l.target, l.use}); s.links[k] != nil && s.links[k].link == l {
		go s.links[k].client.Close() // its connection is closing, and waits for this
		delete(s.links, k)
	}
}

// Send sends a message that isn't answered to all instances that have bound the subject with Bind or BindOnce, and to one of those that
// have with QueueBind. It returns when it is on its way to the bus; whether anybody is there isn't known, and if the bus doesn't take it that is logged.
//
// The error is an Error with BadRequest if the subject is none.
//
// An io.Reader, of any size, is read while those instances read it, at most 1,024 of them, each at its own pace, as far as 256 KiB let them: one that takes nothing of
// it for Opts.SendTimeout while others wait for more is given up. Send returns when it was read to its end and their handlers have returned, or when ctx ends, but not
// while Read runs. What handlers return is dropped. The error is that of the reader or, as a call's, of the first instance that failed, and says that nothing was
// processed only if no other one has begun; it is UNAVAILABLE, not processed, if none has taken it, in which case nothing was read. Instances have 250 ms to take it, and
// Send returns no earlier, unless nobody is there: a Request with an io.Reader, which reaches one, doesn't wait for that. The metadata of ctx may be one entry, and the length of a
// subject, less than flyrpc.WithMeta allows. An Interceptor is called for each instance.
func (c *Client) Send(ctx context.Context, subject string, v any) error {
	if r, ok := v.(io.Reader); ok {
		return c.cast(ctx, subject, r)
	}
	return c.SendMessage(ctx, subject, v)
}

// SendMessage is Send for flyrpc.Caller, without io.Reader.
func (c *Client) SendMessage(ctx context.Context, path string, message any) error {
	if err := c.checkTarget(SubjectOf(path)); err != nil { // nobody would be told later
		return flyrpc.Errorf(flyrpc.BadRequest, "%w", err).WithDelivery(flyrpc.NotSent)
	}
	return c.Client.SendMessage(ctx, path, message)
}

// checkTarget says what is wrong with a subject within the service that a message is sent to.
func (c *Client) checkTarget(subject string) error {
	if len(subject)+c.around > MaxSubject {
		return CheckSubject(c.svc.opts.subject(c.target, subject), false)
	}
	if err := errOwnToken(subject); err != nil {
		return err
	}
	return CheckSubject(subject, false)
}

// SendDurable sends a message to those that have bound the subject with Durable, and returns when the broker has acknowledged that it keeps
// it. id, unless it is empty, is the message's: another with the same id, within the broker's time for duplicates, is acknowledged and dropped. So a Send that failed, or
// whose outcome is unknown, may be repeated with the same id.
//
// The message has to fit one message of the bus, less 1 KiB, or an eighth if that is less. The bus has to be a DurableBus.
func (c *Client) SendDurable(ctx context.Context, subject, id string, v any) error {
	if id != "" {
		subject += idMark + id
	}
	return c.svc.client(linkKey{c.target, forDurable}).Call(ctx, subject, v, nil)
}

// Request is a request that is sent when Into is called.
type Request struct {
	c       *Client
	ctx     context.Context
	subject string
	v       any
	timeout time.Duration // 0: the default
}

// Request returns a request to whoever has bound the subject. It waits Opts.RequestTimeout for the answer, or until ctx ends, unless
// an io.Reader is sent or asked for, for which ctx alone holds. The value is a struct, string, []byte, io.Reader or nil, or whatever the
// serializer takes.
func (c *Client) Request(ctx context.Context, subject string, v any) *Request {
	return &Request{c: c, ctx: ctx, subject: subject, v: v}
}

// RequestWithTimeout is Request with a timeout of its own, which holds for readers too: until all was read.
func (c *Client) RequestWithTimeout(ctx context.Context, subject string, v any, timeout time.Duration) *Request {
	return &Request{c: c, ctx: ctx, subject: subject, v: v, timeout: timeout}
}

// Into sends the request and decodes the answer into reply, a pointer to a struct, string, []byte, io.Reader or io.ReadCloser, or
// drops it if reply is nil. Of several instances that answer, the first one's answer counts. It may be called again, and
// sends the request again.
func (r *Request) Into(reply any) error {
	ctx, end := r.ctx, func() {}
	reads := isReader(reply)
	timeout := r.timeout
	if _, sends := r.v.(io.Reader); timeout == 0 && !sends && !reads {
		timeout = r.c.svc.opts.RequestTimeout
	}
	if timeout > 0 {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		if reads { // it outlives this
			context.AfterFunc(bounded, cancel)
		}
		ctx, end = bounded, cancel
	}
	err := r.c.Call(ctx, r.subject, r.v, reply)
	if !reads || err != nil {
		end()
	}
	return err
}

// isReader reports whether a reply is a reader.
func isReader(reply any) bool {
	switch reply.(type) {
	case *io.Reader, *io.ReadCloser:
		return true
	}
	return false
}
