package flyrpc

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/adapt"
)

// upload sends the body of a request to a handler that takes items, while the answer is written.
type upload struct {
	c    *httpCall
	st   *Stream
	done chan struct{}
	err  error // why it has ended early; read after done
}

// upload begins to send the body.
func (c *httpCall) upload(st *Stream) *upload {
	u := &upload{c: c, st: st, done: make(chan struct{})}
	c.body.rest()
	go func() {
		u.err = u.run()
		close(u.done) // before whoever receives is told that the stream was closed
		if u.err != nil {
			st.Close()
		}
	}()
	return u
}

// run sends the body.
func (u *upload) run() (err error) {
	if u.c.rt.readsBytes() {
		body := &faultReader{r: u.c.body}
		if err = u.st.Send(body); body.err != nil {
			return u.c.body.fault(body.err)
		}
	} else {
		err = u.sendLines()
	}
	if err == nil {
		err = u.st.CloseSend()
	}
	if err == io.EOF { // the handler has returned
		return nil
	}
	return err
}

// readsBytes reports whether the handler takes an io.Reader.
func (rt *route) readsBytes() bool {
	return slices.ContainsFunc(rt.plan.Params, func(p adapt.Param) bool { return p.Kind == adapt.Reader })
}

// sendLines sends each line of the body as an item.
func (u *upload) sendLines() error {
	b := u.c.body
	lines := &lineReader{r: b, most: b.c.web.srv.ep.limits.maxMessage, begun: b.start, ended: b.rest}
	for {
		line, err := lines.next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLongLine):
			return Errorf(TooLong, "a line of the body has more than the %d bytes that are accepted", lines.most)
		case err != nil:
			return b.fault(err)
		}
		if err := u.st.Send(webBody(line)); err != nil {
			return err
		}
	}
}

// cause returns why the sending has ended early, if it has, or else err, which is what Recv says.
func (u *upload) cause(err error) error {
	if u.c.r.Context().Err() != nil { // because the body is cut, it may be
		u.end()
	}
	select {
	case <-u.done:
		if u.err != nil {
			return u.err
		}
	default:
	}
	return err
}

// end ends the sending: nobody takes it any more. A client of HTTP/1 that has its answer may send on for lingerFor, so that closing
// doesn't take the answer from it: net/http reads the rest, unless a Read has failed.
func (u *upload) end() {
	limit := time.Unix(1, 0)
	if u.c.sent && u.c.r.ProtoMajor == 1 {
		_ = u.c.out.Flush()
		limit = time.Now().Add(lingerFor)
	}
	if !u.c.body.end(limit) { // it ends when net/http closes the body
		return
	}
	<-u.done
	u.c.body.end(time.Now().Add(lingerFor))
}

// faultReader remembers what reading has failed with.
type faultReader struct {
	r   io.Reader
	err error
}

// Read reads.
func (r *faultReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// errLongLine means that a line is too long.
var errLongLine = errors.New("flyrpc: the line is too long")

// lineReader divides what it reads into lines.
type lineReader struct {
	r            io.Reader
	most         int    // bytes of a line
	begun, ended func() // called when a part of a line has come, and when no line is under way
	buf          []byte // read and not yet returned
	at           int    // of buf, where the next line begins
	partial      bool
	blank        bool // blank lines are returned too
	err          error
}

// next returns the next line that isn't blank, without its end. It is valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	for scanned := l.at; ; {
		if i := bytes.IndexByte(l.buf[scanned:], '\n'); i >= 0 {
			line := l.buf[l.at : scanned+i]
			l.at = scanned + i + 1
			scanned = l.at
			if len(line) > l.most {
				return nil, errLongLine
			}
			if line = bytes.TrimSuffix(line, []byte("\r")); l.blank || len(bytes.TrimSpace(line)) > 0 {
				return line, nil
			}
			continue
		}
		rest := l.buf[l.at:]
		switch {
		case len(rest) > l.most:
			return nil, errLongLine
		case l.err == io.EOF && len(bytes.TrimSpace(rest)) > 0:
			l.at = len(l.buf)
			return rest, nil
		case l.err != nil:
			return nil, l.err
		}
		l.buf = append(l.buf[:0], rest...)
		l.at, scanned = 0, len(l.buf)
		l.fill()
	}
}

// fill reads once.
func (l *lineReader) fill() {
	if partial := len(l.buf) > 0; partial != l.partial {
		l.partial = partial
		if partial {
			l.begun()
		} else {
			l.ended()
		}
	}
	l.buf = slices.Grow(l.buf, 4<<10)
	n, err := readSome(l.r, l.buf[len(l.buf):cap(l.buf)])
	l.buf, l.err = l.buf[:len(l.buf)+n], err
}

// splitList divides a header's value at its commas and takes off parameters.
func splitList(v string) (parts []string) {
	for part := range strings.SplitSeq(v, ",") {
		part, _, _ = strings.Cut(part, ";")
		parts = append(parts, strings.TrimSpace(part))
	}
	return parts
}
