package flyrpc

import (
	"context"
	"time"
)

// Context is what a handler knows about the packet it handles, and its way to the
// other end. It is a context.Context: it ends when the caller's deadline passes, when the
// caller gives up, when the connection is lost, and when the handler has returned.
//
// There is one for each packet; it is never used again for another. All methods
// may be called concurrently, until the handler returns; after that those that
// send fail.
type Context struct {
	in  *incoming
	ctx context.Context // what WithContext was given, or nil
}

var _ context.Context = (*Context)(nil)

// contextKey is the type of the keys FlyRPC itself keeps in contexts.
type contextKey int

const (
	handlerKey  contextKey = iota // the *Context of the handler that a context comes from
	outgoingKey                   // *outgoingValues
)

// Deadline returns the caller's deadline, if it has one.
func (c *Context) Deadline() (deadline time.Time, ok bool) {
	if c.ctx != nil {
		return c.ctx.Deadline()
	}
	if c.in.deadline == 0 {
		return time.Time{}, false
	}
	return c.in.conn.timeAt(c.in.deadline), true
}

// Done returns the channel that is closed when the Context ends.
func (c *Context) Done() <-chan struct{} {
	if c.ctx != nil {
		return c.ctx.Done()
	}
	return c.in.doneChan()
}

// Err returns context.Canceled or context.DeadlineExceeded once the Context has
// ended, and nil before.
func (c *Context) Err() error {
	if c.ctx != nil {
		return c.ctx.Err()
	}
	return c.in.ended()
}

// Value returns the value that WithContext's context has for key, or else the
// connection's, which Conn.SetValue has set.
func (c *Context) Value(key any) any {
	if key == handlerKey {
		return c
	}
	if c.ctx != nil {
		return c.ctx.Value(key)
	}
	if _, ok := key.(contextKey); ok {
		return nil
	}
	return c.in.conn.Value(key)
}

// AfterFunc arranges for f to run on a goroutine of its own when the Context ends,
// as context.AfterFunc does, which uses it.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	if c.ctx != nil {
		return context.AfterFunc(c.ctx, f)
	}
	return c.in.afterFunc(f)
}

// WithContext returns a copy of c whose deadline, end and values are those of ctx,
// which should be derived from c. Middleware passes it on to bound or extend what follows.
func (c *Context) WithContext(ctx context.Context) *Context {
	if ctx == nil {
		panic("flyrpc: Context.WithContext: the context is nil")
	}
	return &Context{in: c.in, ctx: ctx}
}

// Conn returns the connection the packet came by.
func (c *Context) Conn() *Conn { return c.in.conn }

// Path returns the path of the request or message. In OnConnect and OnDisconnect it
// is empty.
func (c *Context) Path() string { return c.in.path }

// Param returns what a {name} of the route's path stands for in this packet's, or "".
func (c *Context) Param(name string) string {
	if c.in.route == nil {
		return ""
	}
	for i, n := range c.in.route.params {
		if n == name && i < len(c.in.params) {
			return c.in.params[i]
		}
	}
	return ""
}

// ReceivedAt returns when the packet was read: its last bytes if it is small, those of its
// header if its payload has 16 KiB or more. The caller's deadline counts from there.
func (c *Context) ReceivedAt() time.Time { return c.in.conn.timeAt(c.in.at) }

// Packet returns a copy of the packet that is handled, which the caller may keep.
// It must not be called after the handler has returned.
func (c *Context) Packet() *Packet {
	in := c.in
	return &Packet{
		Flag:     in.flag &^ zipBits,
		Sequence: in.seq,
		Code:     in.path,
		Meta:     append([]byte(nil), in.meta...),
		Payload:  append([]byte(nil), in.body.data...),
	}
}

// Decode decodes the message into v, a non-nil pointer, as a handler's parameter
// would be: []byte and string take a raw message as it is, nil leaves v alone. The error is
// an Error with BadRequest. It must not be called after the handler has returned.
func (c *Context) Decode(v any) error { return c.in.body.decode(v) }

// Stream returns the Stream that a handler with a *Stream parameter would be given, for packages that don't know before the handler runs
// whether it answers with items. The handler has to take an io.Reader, or items in another form.
func (c *Context) Stream() *Stream { return c.openStream() }

// Keep lets Decode, Packet, Size and Meta be called after the handler has returned too: it copies what lies in memory that is used
// again. Packages use it that hand requests on to other goroutines. It must be called before the handler returns, and
// before what it copies is used by others.
func (c *Context) Keep() {
	in := c.in
	in.meta = append([]byte(nil), in.meta...)
	in.body.data = append([]byte(nil), in.body.data...)
	in.body.shared = true // decoded values don't share it, so that Decode may be called again
}

// Meta returns the metadata the caller sent with WithMeta. The map is the caller's own. It
// must not be called after the handler has returned.
func (c *Context) Meta() Metadata { return userMeta(c.in.meta) }

// MetaEntry returns the value of the first entry with an id in the packet's metadata, or nil: for packages that have entries of their own.
// It shares the packet's memory, and must not be called or used after the handler has returned.
func (c *Context) MetaEntry(id MetaID) []byte {
	for e, err := range ParseMeta(c.in.meta) {
		if err == nil && e.ID == id {
			return e.Value
		}
	}
	return nil
}

// SetMeta adds metadata to the response, which the caller reads with WithReplyMeta. It has no effect on a
// message, to a version 1 peer, or after the response was sent. The error is an Error with
// TooLong if metadata exceeds 8 KiB or 64 entries.
func (c *Context) SetMeta(key, value string) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	x := c.in.more()
	meta, err := addUserMeta(x.meta, key, value)
	if err != nil {
		return err
	}
	x.meta = meta
	return nil
}

// Reply answers the request with any code and any payload, as they are. What the
// handler returns is dropped then. It fails with Conflict if the request was answered
// already, or was a message, which has no answer.
func (c *Context) Reply(code Code, payload []byte) error {
	in := c.in
	if in.flag&FlagWait == 0 {
		return Errorf(Conflict, "%q came as a message, which has no answer", in.path)
	}
	if err := checkCode(string(code)); err != nil {
		return Errorf(BadRequest, "%w", err)
	}
	if !in.claimReply() {
		return Errorf(Conflict, "the request %q was answered already", in.path)
	}
	in.conn.in.repliesEarly(in)
	if s := in.opened(); s != nil {
		if _, err := s.seal(true); err != nil && code == "" {
			in.respondError(err, false)
			return err
		}
	}
	kind := bytesBody
	if code != "" {
		kind = encodedBody // an error's message is text, unmarked
	}
	if m := in.conn.mode.Load(); m.v1 {
		payload = m.v1Payload(code, payload)
	}
	err := in.send(string(code), payload, kind, false, nil)
	if in.inline { // the reader may not look again
		in.conn.proto.out.kick()
	}
	return err
}

// v1Payload returns what a version 1 peer gets for a payload that isn't there: it may
// not deliver an empty one.
func (m *mode) v1Payload(code Code, payload []byte) []byte {
	switch {
	case code != "" && len(payload) == 0:
		return []byte(code)
	case payload == nil:
		payload, _, _ = encodeBody(nil, nil, m.ser, true)
	}
	return payload
}

// Call calls path at the other end and decodes the answer into reply, as Conn.Call
// does. It ends with this Context, and fails with BUSY if the other end takes no more calls within
// HandlerWait.
func (c *Context) Call(path string, message, reply any) error {
	return c.in.conn.Call(c, path, message, reply)
}

// SendMessage sends a one-way message to path at the other end, as Conn.SendMessage
// does.
func (c *Context) SendMessage(path string, message any) error {
	return c.in.conn.SendMessage(c, path, message)
}

// Ping measures the time a packet takes to the other end and back, as Conn.Ping
// does. It ends with this Context.
func (c *Context) Ping(length int, timeout time.Duration) (time.Duration, error) {
	if c.Err() != nil {
		return 0, ctxErr(c, NotSent, pingPath)
	}
	if c.in.conn.byHTTP() {
		return 0, errOneWay()
	}
	return c.in.conn.ping(c, length, timeout)
}

// claimReply reports whether nobody has answered yet, and makes the caller the one
// who does.
func (in *incoming) claimReply() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.claimed {
		return false
	}
	in.claimed = true
	return true
}
