package flyrpc

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// allowed are the methods that are answered.
const allowed = "GET, HEAD, OPTIONS, POST"

// ServeHTTP serves calls by HTTP, and WebSockets: POST to a path is a call of it. It may be mounted in any mux under any
// path: http.StripPrefix takes off what stands before the handlers' own paths. See docs/http.md.
//
// What comes this way was accepted by the caller's own http.Server: ServerOpts.TLS, AllowPlain, MaxConns and
// HelloTimeout don't hold for it, while Auth, Origins, MaxMessage, ReadTimeout and WriteTimeout do. After Shutdown it answers
// UNAVAILABLE. It panics with http.ErrAbortHandler, which net/http expects, to cut an answer that can't be ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &httpCall{web: s.web, w: w, r: r, out: http.NewResponseController(w)}
	c.body = &pacedBody{c: c, r: r.Body, done: r.ContentLength == 0}
	if s.opts.NoHTTP {
		c.fail(notProcessedErr(Errorf(NotFound, "this server doesn't speak HTTP: ServerOpts.NoHTTP is set")))
		return
	}
	if wc := webConnOf(r); wc != nil && wc.pass.refusal != nil {
		w.Header().Set("Connection", "close")
		c.fail(notProcessedErr(wc.pass.refusal))
		return
	}
	if wantsUpgrade(r) {
		s.upgrade(w, r)
		return
	}
	c.begin()
	s.web.origins.allow(r, w.Header())
	switch r.Method {
	case http.MethodPost:
		if err := c.call(); err != nil {
			c.fail(err)
		}
	case http.MethodGet, http.MethodHead:
		c.page()
	case http.MethodOptions:
		s.web.origins.preflight(r, w.Header())
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
	case "PRI": // the preface of HTTP/2
		w.Header().Set("Connection", "close")
		c.failWith(http.StatusHTTPVersionNotSupported, notProcessedErr(Errorf(BadRequest, "this port speaks HTTP/1.1, and not HTTP/2")))
	default:
		w.Header().Set("Allow", allowed)
		c.failWith(http.StatusMethodNotAllowed, notProcessedErr(Errorf(BadRequest, "the method %.20q is none of %s", r.Method, allowed)))
	}
}

// wantsUpgrade reports whether a request asks for a WebSocket.
func wantsUpgrade(r *http.Request) bool {
	return hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

// hasToken reports whether a list in the values of a header has a token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// httpCall is a request on its way through the server.
type httpCall struct {
	web  *web
	w    http.ResponseWriter
	r    *http.Request
	out  *http.ResponseController
	meta Metadata // of the reply
	rt   *route
	sent bool // the answer is written to its end
	raw  bool // the answer is bytes
	sse  bool // it is server-sent events
	body *pacedBody
}

// begin bounds the time that the request's body takes, and keeps what is left of a strange one from being taken for the next request.
func (c *httpCall) begin() {
	if c.body.done {
		return
	}
	c.body.start()
	if c.r.ContentLength < 0 && c.r.ProtoMajor == 1 { // a proxy may have gone by a Content-Length beside
		c.w.Header().Set("Connection", "close")
	}
}

// call serves a POST. An error is what it is answered with.
func (c *httpCall) call() error {
	if err := c.web.origins.refuse(c.r); err != nil {
		return notProcessedErr(err.(*Error))
	}
	identity, err := c.web.identify(c.r)
	if err != nil {
		return err
	}
	path, err := c.route()
	if err != nil {
		return err
	}
	ctx, cancel, err := c.context()
	if err != nil {
		return err
	}
	defer cancel()
	var body []byte
	if c.rt.takes {
		body = []byte(c.r.Header.Get(messageHeader))
		_ = c.out.EnableFullDuplex()
	} else if body, err = c.body.whole(); err != nil {
		return err
	}
	conn, err := c.web.connect(c.r, identity)
	if err != nil {
		return err
	}
	defer conn.Close()
	st, err := conn.openStream(WithReplyMeta(ctx, &c.meta), path, webBody(body), !c.rt.takes)
	if err != nil {
		return err
	}
	defer st.Close()
	var up *upload
	if c.rt.takes {
		up = c.upload(st)
		defer up.end()
	}
	if err := c.answer(ctx, st, up); err != nil {
		c.fail(err)
	}
	return nil
}

// route finds the route that the request is for and the path to call: the URL's, or else that without the first slash.
func (c *httpCall) route() (path string, err error) {
	path = c.r.URL.Path
	router := c.web.srv.Router
	for _, p := range []string{path, strings.TrimPrefix(path, "/")} {
		if isReserved([]byte(p)) || strings.HasPrefix(path, "//") && p != path {
			break
		}
		if c.rt, _, _ = router.find([]byte(p)); c.rt != nil {
			return p, nil
		}
	}
	c.rt = router.notFound()
	if c.rt == nil || isReserved([]byte(path)) || checkCode(path) != nil || !strings.HasPrefix(path, "/") {
		return "", notProcessedErr(Errorf(NotFound, "no handler for %.200q", path))
	}
	return path, nil
}

// context returns the context of the call: the request's, with its metadata and timeout.
func (c *httpCall) context() (context.Context, context.CancelFunc, error) {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, nil, &statusError{http.StatusUnsupportedMediaType, notProcessedErr(Errorf(BadRequest, "the body is encoded as %.20q: send it as it is", e))}
	}
	timeout, err := timeoutOf(c.r.Header)
	if err != nil {
		return nil, nil, notProcessedErr(err.(*Error))
	}
	ctx := metaFrom(c.r.Context(), c.r.Header)
	if timeout > 0 {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return ctx, cancel, nil
}

// pacedBody is a request's body that has to come at least as fast as ReadTimeout says of packets.
type pacedBody struct {
	c     *httpCall
	r     io.Reader
	since time.Time // zero: it may take its time
	n     int64     // bytes that have come since
	done  bool      // it was read to its end

	mu   sync.Mutex
	over bool // nobody wants more: the deadline isn't set any more
}

// start begins to measure.
func (b *pacedBody) start() {
	b.since, b.n = time.Now(), 0
	b.pace()
}

// rest stops measuring.
func (b *pacedBody) rest() {
	b.since = time.Time{}
	b.bound(time.Time{})
}

// bound sets the time until which more has to come, unless nobody wants it any more.
func (b *pacedBody) bound(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		_ = b.c.out.SetReadDeadline(t)
	}
}

// end bounds a Read that waits, and those to come, for good. It reports false if the connection can't do that.
func (b *pacedBody) end(t time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	return b.c.out.SetReadDeadline(t) == nil
}

// pace sets the time until which more has to come.
func (b *pacedBody) pace() {
	limit := b.c.web.srv.ep.limits.readTimeout
	b.bound(b.since.Add(min(limit, forEver/(1+time.Duration(b.n/paceBytes))) * (1 + time.Duration(b.n/paceBytes))))
}

// paceBytes is what has to come within ReadTimeout.
const paceBytes = 16 << 10

// Read reads paceBytes at most.
func (b *pacedBody) Read(p []byte) (int, error) {
	before := b.n / paceBytes
	n, err := b.r.Read(p[:min(len(p), paceBytes)])
	b.n += int64(n)
	if !b.since.IsZero() && b.n/paceBytes != before {
		b.pace()
	}
	return n, err
}

// whole reads all of the body.
func (b *pacedBody) whole() ([]byte, error) {
	most := b.c.web.srv.ep.limits.maxMessage
	var data []byte
	err := error(nil)
	if b.c.r.ContentLength <= int64(most) {
		data, err = io.ReadAll(io.LimitReader(b, int64(most)+1))
	}
	switch {
	case err != nil:
		return nil, b.fault(err)
	case len(data) > most || b.c.r.ContentLength > int64(most):
		return nil, notProcessedErr(Errorf(TooLong, "the message has more than the %d bytes that are accepted", most))
	}
	b.rest()
	b.done = true
	return data, nil
}

// fault says why the body can't be read.
func (b *pacedBody) fault(err error) error {
	if isLate(err) {
		return &statusError{http.StatusRequestTimeout, notProcessedErr(Errorf(Timeout, "the body doesn't come fast enough: %v for each 16 KiB", b.c.web.srv.ep.limits.readTimeout))}
	}
	return notProcessedErr(Errorf(BadRequest, "the body is cut or malformed: %w", err))
}

// statusError is an error that is answered with a status of its own.
type statusError struct {
	status int
	err    *Error
}

// Error returns the error's text.
func (e *statusError) Error() string { return fmt.Sprintf("%d %v", e.status, e.err) }

// Unwrap returns the error.
func (e *statusError) Unwrap() error { return e.err }
