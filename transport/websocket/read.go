package websocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"unicode/utf8"
)

// Read waits until bytes of binary messages have come and takes as many as b holds. b may be overwritten
// beyond what Read returns.
func (c *Conn) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		n, err := c.read(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// read is a Read that may return nothing, because no payload came.
func (c *Conn) read(b []byte) (int, error) {
	if err := c.ready(opBinary); err != nil {
		return 0, err
	}
	if len(c.unread) > 0 && len(b) > 0 {
		n := copy(b, c.unread)
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil
		}
		return c.takeApart(b[:n])
	}
	n, err := c.nc.Read(b)
	if n > 0 { // an error that came with it comes again
		return c.takeApart(b[:n])
	}
	return 0, c.lost(err)
}

// ready says why nothing of a kind can be read.
func (c *Conn) ready(kind byte) error {
	switch {
	case c.isClosed.Load():
		return c.fail("read", net.ErrClosed)
	case c.readErr != nil:
		return c.readErr
	case c.kind == 0 || c.kind == kind:
		return nil
	case c.kind == opText:
		return ErrText
	}
	return ErrBinary
}

// lost returns what an error of the connection below comes to, and keeps it if it stays.
func (c *Conn) lost(err error) error {
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.isClosed.Load() && !errors.Is(err, net.ErrClosed):
		err = c.fail("read", net.ErrClosed)
	case errors.Is(err, io.EOF) && c.in.amid():
		err = c.fail("read", errCut)
	case errors.Is(err, io.EOF):
		err = c.fail("read", errNoClose)
	}
	c.readErr = err
	return err
}

var (
	errCut     = unexpectedEnd("the connection ended within a message")
	errNoClose = unexpectedEnd("the other end ended the connection without a close frame")
)

// unexpectedEnd is an error that matches io.ErrUnexpectedEOF.
type unexpectedEnd string

func (e unexpectedEnd) Error() string { return "websocket: " + string(e) }
func (e unexpectedEnd) Unwrap() error { return io.ErrUnexpectedEOF }

// takeApart takes what has come into b apart, and moves the payload of binary messages, n bytes, to the front of b.
func (c *Conn) takeApart(b []byte) (n int, err error) {
	for rest := b; err == nil && (len(rest) > 0 || !c.in.waits()); {
		var payload []byte
		var ev event
		payload, rest, ev, err = c.in.next(rest)
		n += copy(b[n:], payload)
		if err == nil {
			err = c.handle(ev)
		}
		if err == nil && ev == begun {
			err = c.decide(opBinary, rest)
		}
	}
	if err == nil || err == ErrText {
		return n, err
	}
	c.stop(err)
	if n > 0 { // the error is for the next Read
		return n, nil
	}
	return 0, err
}

// decide holds a message that begins to the kind that is read. rest is what has come of it.
func (c *Conn) decide(want byte, rest []byte) error {
	first := c.kind == 0
	if first {
		c.kind = c.in.frame.op
	}
	switch {
	case c.in.frame.op == want && c.kind == want:
		return nil
	case first: // it is left to those who read the other kind
		c.unread = bytes.Clone(rest)
		return c.ready(want)
	case c.kind == opText:
		return &CloseError{Code: CloseBadKind, Reason: "a binary message came, and the first one was a text: all have to be of one kind", local: true}
	}
	return &CloseError{Code: CloseBadKind, Reason: "a text message came, and the first one was binary: all have to be of one kind", local: true}
}

// handle does what a control frame asks for.
func (c *Conn) handle(ev event) error {
	if ev != controlled {
		return nil
	}
	switch c.in.frame.op {
	case opPing:
		c.pong(c.in.control)
	case opClose:
		e, err := parseClose(c.in.control)
		switch {
		case err != nil:
			return err
		case c.in.kind != 0:
			return c.fail("read", errCut)
		case e.Code == CloseNormal || e.Code == CloseGoingAway || e.Code == CloseNoStatus:
			return io.EOF
		}
		return e
	}
	return nil
}

// stop ends reading with err. What is wrong with the other end, Close will tell it.
func (c *Conn) stop(err error) {
	c.readErr, c.unread = err, nil
	var e *CloseError
	if errors.As(err, &e) && e.local {
		c.closeMu.Lock()
		defer c.closeMu.Unlock()
		c.closing = *e
	}
}

// readAtOnce is how many bytes ReadText reads at a time.
const readAtOnce = 4 << 10

// ReadText waits for a text message and returns it. It is UTF-8 and belongs to the caller.
func (c *Conn) ReadText() ([]byte, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if err := c.ready(opText); err != nil {
		return nil, err
	}
	for {
		if len(c.unread) == 0 && c.in.waits() {
			if err := c.beforeWait(); err != nil {
				return nil, err
			}
			b := make([]byte, readAtOnce)
			n, err := c.nc.Read(b)
			if c.unread = b[:n]; n == 0 {
				return nil, c.lost(err)
			}
		}
		text, err := c.takeText()
		if err != nil && err != ErrBinary {
			c.stop(err)
		}
		if text != nil || err != nil {
			return text, err
		}
	}
}

// beforeWait calls what SetTextWait has set.
func (c *Conn) beforeWait() error {
	if c.waits == nil {
		return nil
	}
	n := len(c.text)
	if c.in.amid() {
		n++
	}
	return c.waits(n)
}

// takeText takes what has come apart, up to the end of a message, which it returns.
func (c *Conn) takeText() ([]byte, error) {
	payload, rest, ev, err := c.in.next(c.unread)
	c.text = append(c.text, payload...)
	if c.unread = rest; len(rest) == 0 {
		c.unread = nil
	}
	if err == nil {
		err = c.handle(ev)
	}
	if err == nil && ev == begun {
		err = c.decide(opText, rest)
	}
	if err != nil || ev != ended {
		return nil, err
	}
	text := append([]byte{}, c.text...)
	if c.text = nil; !utf8.Valid(text) {
		return nil, &CloseError{Code: CloseBadText, Reason: "a text message is no UTF-8", local: true}
	}
	return text, nil
}
