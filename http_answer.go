package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// httpStatus returns the HTTP status of an error with a code. docs/http.md has them too.
func httpStatus(code Code) int {
	switch code {
	case BadRequest:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case TooLong:
		return http.StatusRequestEntityTooLarge
	case Busy:
		return http.StatusTooManyRequests
	case Canceled:
		return 499
	case Failed, HandlerPanic, Internal:
		return http.StatusInternalServerError
	case Unavailable:
		return http.StatusServiceUnavailable
	case Timeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusUnprocessableEntity
}

// The content types of answers.
const (
	mimeJSON   = "application/json"
	mimeText   = "text/plain; charset=utf-8"
	mimeBytes  = "application/octet-stream"
	mimeLines  = "application/x-ndjson"
	mimeEvents = "text/event-stream"
)

// httpError is the JSON of an error.
type httpError struct {
	Code    Code            `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// errorOf returns what of err a client by HTTP gets to know.
func (c *httpCall) errorOf(err error) httpError {
	w := c.web.srv.ep.errors.toWire(err)
	e := httpError{Code: w.code, Message: w.message}
	details := w.details
	if raw, ok := details.(webBody); ok {
		details = json.RawMessage(raw)
	}
	if details != nil {
		if b, err := json.Marshal(details); err == nil {
			e.Details = b
		}
	}
	return e
}

// fail answers with an error.
func (c *httpCall) fail(err error) {
	var se *statusError
	if errors.As(err, &se) {
		c.failWith(se.status, se.err)
		return
	}
	c.failWith(httpStatus(c.errorOf(err).Code), err)
}

// failWith answers with an error and a status.
func (c *httpCall) failWith(status int, err error) {
	e := c.errorOf(err)
	b := marshalJSON(e)
	h := c.w.Header()
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	h.Set(outcomeHeader, outcomeText(err))
	c.write(status, mimeJSON, append(b, '\n'))
}

// marshalJSON returns v in JSON on one line, without the escapes that HTML needs. v is of types that have JSON.
func marshalJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// write answers with a whole body.
func (c *httpCall) write(status int, contentType string, body []byte) {
	h := c.w.Header()
	if contentType != "" {
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.writeHeader(status)
	_ = c.send(body)
	c.sent = true
}

// writeHeader sends the header of an answer.
func (c *httpCall) writeHeader(status int) {
	h := c.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if !c.body.done && c.r.ProtoMajor == 1 { // net/http would wait for the rest of it before it answers, and it may come after the answer
		h.Set("Connection", "close")
	}
	addMeta(h, "", c.meta)
	expose(h)
	c.mayWrite()
	c.w.WriteHeader(status)
}

// mayWrite gives the client WriteTimeout to read more.
func (c *httpCall) mayWrite() {
	_ = c.out.SetWriteDeadline(time.Now().Add(min(c.web.srv.ep.limits.writeTimeout, forEver)))
}

// send writes a part of the answer's body.
func (c *httpCall) send(body []byte) error {
	for part := range slices.Chunk(body, 64<<10) {
		c.mayWrite()
		if _, err := c.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// answer answers with what comes on a stream. An error is to be answered with; there is none any more once the header is written.
func (c *httpCall) answer(ctx context.Context, st *Stream, up *upload) error {
	var item any
	err := c.cause(ctx, st.Recv(&item), up)
	switch {
	case err == io.EOF && !c.rt.yields:
		c.w.Header().Set(outcomeHeader, "answered")
		c.write(http.StatusNoContent, "", nil)
		return nil
	case err != nil && err != io.EOF:
		return err
	case err == nil && !st.got:
		c.reply(item)
		return nil
	}
	c.stream(ctx, st, up, item, err)
	return nil
}

// cause returns why the call has really ended, if err is what Recv says.
func (c *httpCall) cause(ctx context.Context, err error, up *upload) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return localErr(Timeout, Unknown, ctx.Err(), "the %s of the header %s have passed", c.r.Header.Get(timeoutHeader), timeoutHeader)
	case up == nil:
		return err
	}
	return up.cause(err)
}

// reply answers with the reply of a handler that doesn't stream.
func (c *httpCall) reply(item any) {
	c.w.Header().Set(outcomeHeader, "answered")
	switch v := item.(type) {
	case []byte:
		c.write(http.StatusOK, mimeBytes, v)
	case string:
		c.write(http.StatusOK, mimeText, []byte(v))
	case webBody:
		c.write(http.StatusOK, mimeJSON, append(v, '\n'))
	}
}

// stream answers with items, of which item is the first, unless err is io.EOF.
func (c *httpCall) stream(ctx context.Context, st *Stream, up *upload, item any, err error) {
	c.raw = c.rt.answersBytes(item)
	c.sse = !c.raw && hasToken(acceptTypes(c.r), mimeEvents)
	h := c.w.Header()
	h.Set(outcomeHeader, "unknown")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	switch {
	case c.raw:
		h.Set("Content-Type", mimeBytes)
	case c.sse:
		h.Set("Content-Type", mimeEvents)
	default:
		h.Set("Content-Type", mimeLines)
	}
	c.writeHeader(http.StatusOK)
	for ; err == nil; err = st.Recv(&item) {
		if c.send(c.itemText(item)) != nil || c.out.Flush() != nil {
			panic(http.ErrAbortHandler)
		}
		item = nil
	}
	if err = c.cause(ctx, err, up); err == io.EOF {
		err = nil
	}
	if err != nil && c.raw || c.send(c.endText(err)) != nil {
		panic(http.ErrAbortHandler) // so that the answer is seen to be cut
	}
	addMeta(h, http.TrailerPrefix, c.meta)
}

// acceptTypes returns the types in a request's Accept header, without parameters.
func acceptTypes(r *http.Request) []string {
	var types []string
	for _, v := range r.Header["Accept"] {
		types = append(types, splitList(v)...)
	}
	return types
}

// answersBytes reports whether the items that a route answers with are the bytes of a reader. first is the first of them.
func (rt *route) answersBytes(first any) bool {
	reply := rt.plan.Reply
	if reply == nil {
		return false
	}
	if reply.Kind() == reflect.Interface && !reply.Implements(reflect.TypeFor[io.Reader]()) {
		_, is := first.([]byte)
		return is
	}
	return reply.Implements(reflect.TypeFor[io.Reader]())
}

// itemText returns the form of an item in the answer's body.
func (c *httpCall) itemText(item any) []byte {
	var text []byte
	switch v := item.(type) {
	case nil:
		text = []byte("null")
	case webBody:
		text = oneLine(v)
	case []byte:
		if c.raw {
			return v
		}
		text = marshalJSON(v)
	default: // a string
		text = marshalJSON(v)
	}
	if c.sse {
		return append(append([]byte("data: "), text...), "\n\n"...)
	}
	return append(text, '\n')
}

// oneLine returns JSON without line breaks.
func oneLine(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return []byte("null")
	}
	return b.Bytes()
}

// endText returns what ends a stream that ended with err, or nil.
func (c *httpCall) endText(err error) []byte {
	switch {
	case err == nil && c.sse:
		return []byte("event: end\ndata: {}\n\n")
	case err == nil:
		return nil
	case c.sse:
		return append(append([]byte("event: error\ndata: "), marshalJSON(c.errorOf(err))...), "\n\n"...)
	}
	return append(marshalJSON(map[string]httpError{"error": c.errorOf(err)}), '\n')
}

// isLate reports whether an error is that of a deadline.
func isLate(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
