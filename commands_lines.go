package flyrpc

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/command"
)

// lineConn is a textConn over a stream, with a command in each line.
type lineConn struct {
	net.Conn
	lines  *command.Lines
	limits *limits
	out    []byte
}

// newLineConn returns the lineConn over nc.
func newLineConn(nc net.Conn, s *Server) *lineConn {
	return &lineConn{Conn: nc, lines: command.NewLines(nc, s.maxCommand(), nil), limits: &s.ep.limits}
}

// NetConn returns the stream.
func (c *lineConn) NetConn() net.Conn { return c.Conn }

// ReadText returns the next line.
func (c *lineConn) ReadText() ([]byte, error) { return c.lines.Next() }

// textPace bounds by ReadTimeout how long a command takes to come, once a part of it has.
type textPace struct {
	conn   net.Conn
	limits *limits
	began  time.Time // when that part came; zero if there is none
}

// bound sets the deadline for the rest of a command of which n bytes have come.
func (p *textPace) bound(n int) error {
	switch {
	case n > 0:
		if p.began.IsZero() {
			p.began = time.Now()
		}
		steps := time.Duration(1 + n/largeBody)
		return p.conn.SetReadDeadline(p.began.Add(min(p.limits.readTimeout, forEver/steps) * steps))
	case !p.began.IsZero():
		p.began = time.Time{}
		return p.conn.SetReadDeadline(time.Time{})
	}
	return nil
}

// WriteText writes a line, with the next Flush or before.
func (c *lineConn) WriteText(text []byte) error {
	if len(c.out)+len(text) < maxWrite {
		c.out = append(append(c.out, text...), '\n')
		return nil
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.out = append(c.out, '\n')
	return c.write(text)
}

// Flush writes what WriteText has kept, for as long as the other end reads.
func (c *lineConn) Flush() error {
	err := c.write(c.out)
	c.out = c.out[:0]
	return err
}

// write writes bytes, for as long as the other end reads.
func (c *lineConn) write(rest []byte) error {
	for len(rest) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.limits.writeTimeout)); err != nil {
			return err
		}
		n, err := c.Write(rest[:min(len(rest), maxWrite)])
		if err != nil && n == 0 {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// gone returns an error if the other end, which has ended what it sends, doesn't read either. It asks the socket, which knows
// when that was closed at the same time over a Unix socket, and over TCP by keepalive.
func (c *lineConn) gone() error {
	nc := c.Conn
	for {
		above, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			_, err := nc.Write(nil)
			if errors.Is(err, os.ErrDeadlineExceeded) { // of an answer that is being written
				return nil
			}
			return err
		}
		nc = above.NetConn()
	}
}

// partFrom ends what is sent and reads, for lingerFor at most, until the other end has closed too, so that closing doesn't
// take what was written last from it.
func (c *lineConn) partFrom() {
	if closeWrite(c.Conn) == nil && c.SetReadDeadline(time.Now().Add(lingerFor)) == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, maxSkip*maxHello)
	}
}

// closeWrite ends what is sent on nc, or on what it is made of.
func closeWrite(nc net.Conn) error {
	switch c := nc.(type) {
	case interface{ CloseWrite() error }:
		return c.CloseWrite()
	case interface{ NetConn() net.Conn }:
		return closeWrite(c.NetConn())
	}
	return errors.New("flyrpc: the connection can't be closed in one direction")
}
