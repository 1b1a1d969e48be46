package flyrpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// Run handles the packet on a worker.
func (in *incoming) Run(w *pool.Worker) {
	if in.shared {
		in.payload = w.In
	}
	w.Out = in.process(w.Out[:0])
}

// process handles the packet and answers it, and gives its memory back if nobody may have kept it. buf is for encoding the answer; it returns
// the buffer to use next time.
func (in *incoming) process(buf []byte) []byte {
	if err := in.begin(); err != nil {
		in.refuse(err)
	} else {
		result, err := in.invoke()
		buf = in.answer(buf, result, err)
	}
	in.end()
	if in.lent {
		in.conn.ep.bufs.put(in.payload)
	}
	return buf
}

// begin reads the packet's metadata and says why its handler can't start.
func (in *incoming) begin() error {
	m := in.conn.mode.Load()
	if in.cost > 0 {
		in.conn.returnMessage(int(in.cost), !in.inline)
	}
	if in.long {
		return Errorf(TooLong, "the message has more than the %d bytes that are accepted", in.conn.ep.limits.maxMessage)
	}
	switch {
	case in.route.takes && m.foreign && !m.v1:
		return Errorf(BadRequest, "%q takes items: %s can't send them", in.path, m.who())
	case !in.route.yields:
	case in.flag&FlagWait == 0:
		return Errorf(BadRequest, "%q answers with items: a one-way message can't take them", in.path)
	case m.whole:
		return Errorf(BadRequest, "%q answers with items: %s can't take them", in.path, m.who())
	}
	if in.whole != nil {
		in.payload = in.whole.joinFor(in.flag, &in.conn.ep.bufs)
	}
	meta, data, err := splitMeta(in.flag, in.payload)
	if err != nil {
		return Errorf(BadRequest, "%w", err)
	}
	in.meta = meta
	in.body = body{data: data, ser: m.ser, shared: in.shared, kind: m.kind()}
	if m.v1 {
		return in.checkLength()
	}
	var deadline time.Duration
	for rest, n := meta, 0; len(rest) > 0; n++ {
		var e MetaEntry
		if e, rest, err = nextMeta(rest, n); err != nil {
			return Errorf(BadRequest, "%w", err)
		}
		switch e.ID {
		case MetaTimeout:
			if deadline, err = timeoutFrom(in.at, e.Value); err != nil {
				return err
			}
		case MetaSerializer:
			if in.body.kind, in.body.ser, err = in.conn.ep.bodySerializer(e.Value, m.ser); err != nil {
				return err
			}
		}
	}
	if !in.shared && in.body.kind != bytesBody {
		in.lent, in.body.shared = true, true
	}
	if err := in.start(deadline); err != nil {
		return err
	}
	return in.unzip()
}

// unzip inflates the body, if it is compressed, and bounds it.
func (in *incoming) unzip() error {
	data, inflated, err := in.conn.inflate(in.flag, in.body.data)
	if err != nil {
		return err
	}
	if inflated {
		in.body.data, in.body.shared = data, false
	}
	return in.checkLength()
}

// checkLength refuses a message that is too long.
func (in *incoming) checkLength() error {
	if most := in.conn.ep.limits.maxMessage; len(in.body.data) > most {
		return Errorf(TooLong, "the message has %d bytes, at most %d are accepted", len(in.body.data), most)
	}
	return nil
}

// start sets the deadline and says whether the call is over before it has begun.
func (in *incoming) start(deadline time.Duration) error {
	in.mu.Lock()
	in.deadline = deadline
	err := in.err
	in.started = err == nil || in.flag&FlagWait == 0
	in.mu.Unlock()
	switch {
	case err != nil && in.flag&FlagWait != 0: // a message that has come is handled
		return Errorf(Canceled, "the call was cancelled before its handler started")
	case deadline != 0 && in.conn.age() >= deadline:
		return Errorf(Timeout, "the deadline passed before the handler started")
	}
	return nil
}

// timeoutFrom returns the deadline, which isn't 0, of a packet with a timeout entry that came at an age of the connection.
func timeoutFrom(at time.Duration, value []byte) (time.Duration, error) {
	us, w := binary.Uvarint(value)
	if w != len(value) || w <= 0 {
		return 0, Errorf(BadRequest, "%w: the timeout is no uvarint", ErrBadMeta)
	}
	const most = math.MaxInt64 / 2 // so that no sum is larger than a time.Duration may be
	deadline := at + time.Duration(min(us, most/1000))*time.Microsecond
	return cmp.Or(deadline, -1), nil // which has passed as well
}

// invoke runs the handler. A panic, and the end of the goroutine, become an error.
func (in *incoming) invoke() (result any, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		r := recover()
		result, err = nil, in.panicked(r)
		if r == nil { // runtime.Goexit: nothing runs after this
			in.answer(nil, nil, err)
			in.end()
		}
	}()
	result, err = in.route.handler(&in.context)
	returned = true
	return result, err
}

// panicked logs a panic with its stack and returns what the caller is told.
func (in *incoming) panicked(r any) error {
	what := r
	if r == nil {
		what = "runtime.Goexit"
	}
	name := in.path
	if name == "" {
		name = in.route.path // OnConnect or OnDisconnect
	}
	in.conn.logPanic(name, what)
	return &Error{Code: HandlerPanic, Message: "the handler panicked"}
}

// logPanic logs a panic, which is being recovered from, with its stack.
func (c *Conn) logPanic(path string, what any) {
	c.ep.log.Error("flyrpc: handler panicked", "conn", c.id, "path", path,
		"panic", fmt.Sprint(what), "stack", string(debug.Stack()))
}

// end takes the packet off the books, ends its Context and starts what waited for it.
func (in *incoming) end() {
	c := in.conn
	var ready []*incoming
	if !in.settled || !in.strict { // else it left the books with its answer
		ready = c.in.finish(in)
	}
	in.cancel(context.Canceled)
	for _, next := range ready {
		c.run(next, false)
	}
	c.progress()
}
