package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// maxAnswer is the most bytes of a header with which a server may answer an upgrade.
const maxAnswer = 64 << 10

// Upgrade makes a WebSocket of nc, as Dial does, by a request to the host and the path of addr. So it works over what Dial
// doesn't know: a proxy's tunnel, a Unix socket. With wss, nc is one of TLS already. nc belongs to the Conn from then on; with an error
// it is closed.
func (t Transport) Upgrade(ctx context.Context, nc net.Conn, addr *url.URL) (*Conn, error) {
	c, err := t.upgrade(ctx, nc, addr)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (t Transport) upgrade(ctx context.Context, nc net.Conn, addr *url.URL) (*Conn, error) {
	timeout := t.HandshakeTimeout
	if timeout <= 0 {
		timeout = DefaultHandshakeTimeout
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stop := context.AfterFunc(within, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	answer := &answerConn{Conn: nc}
	given := func(context.Context, string, string) (net.Conn, error) { return answer, nil }
	dialer := gorilla.Dialer{
		NetDialContext: given, NetDialTLSContext: given,
		ReadBufferSize: maxControl + maxHead, WriteBufferPool: noPool{}, // see Accept
	}
	_, resp, err := dialer.DialContext(context.WithoutCancel(ctx), addr.String(), t.Header)
	if !stop() {
		return nil, timedOut(ctx, addr, timeout)
	}
	switch {
	case errors.Is(err, gorilla.ErrBadHandshake):
		return nil, refused(resp)
	case err != nil:
		return nil, fmt.Errorf("websocket: the upgrade at %s: %w%s", addr.Redacted(), err, hint(err))
	case unasked(t.Header, resp.Header):
		return nil, errExtension
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return newConn(nc, true, resp.Header, t.ReadLimit, answer.unread()), nil
}

// timedOut is why an upgrade ended before it was answered.
func timedOut(ctx context.Context, addr *url.URL, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("websocket: the upgrade at %s: %w", addr.Redacted(), err)
	}
	return fmt.Errorf("websocket: the server at %s hasn't answered the upgrade within %v: %w", addr.Redacted(), timeout, context.DeadlineExceeded)
}

// refused makes an error of a server's answer.
func refused(resp *http.Response) error {
	text, _ := io.ReadAll(resp.Body) // gorilla has read the beginning
	return &UpgradeError{Status: resp.StatusCode, Text: strings.TrimSpace(string(text))}
}

// hint says what may be done about an upgrade that failed.
func hint(err error) string {
	if strings.Contains(err.Error(), "malformed HTTP") {
		return "; does the other end speak HTTP?"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ": the other end closed the connection; does it speak HTTP?"
	}
	return ""
}

// answerConn keeps what comes behind the header of a server's answer from whoever reads the answer, until that
// asks for more.
type answerConn struct {
	net.Conn
	buf   []byte
	total int  // bytes so far
	line  bool // the line that comes is empty so far
	over  bool // the header is over
}

// Read reads up to the end of the header, and then what comes.
func (c *answerConn) Read(b []byte) (int, error) {
	if c.total > maxAnswer {
		return 0, fmt.Errorf("the answer is longer than %d KiB", maxAnswer>>10)
	}
	if len(c.buf) == 0 {
		buf := make([]byte, 4<<10)
		n, err := c.Conn.Read(buf)
		if c.buf = buf[:n]; n == 0 {
			return 0, err
		}
	}
	n := 0
	if c.over {
		n = copy(b, c.buf)
	}
	for ; !c.over && n < min(len(b), len(c.buf)); n++ {
		b[n] = c.buf[n]
		c.look(b[n])
	}
	c.buf = c.buf[n:]
	c.total += n
	return n, nil
}

// look finds the empty line that ends the header.
func (c *answerConn) look(b byte) {
	switch b {
	case '\n':
		c.over, c.line = c.line, true
	case '\r':
	default:
		c.line = false
	}
}

// unread returns what has come behind the header.
func (c *answerConn) unread() []byte { return bytes.Clone(c.buf) }
