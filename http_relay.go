package flyrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// metaDelivery is the id of an entry that only a relay sends, to its own client: how far a call that failed has come.
const metaDelivery MetaID = 1 << 16

// serve is the relay's handler for all paths: it makes one HTTP request and answers with what comes of it.
func (r *relay) serve(c *Context) (any, error) {
	if c.in.flag&FlagStream != 0 {
		return nil, localErr(BadRequest, NotSent, nil, "items can't be sent by HTTP: dial another address of the server, such as tcp:// or ws://")
	}
	var sent atomic.Bool
	ctx := httptrace.WithClientTrace(c, &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) }, // again only if the server can't have read anything
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := r.request(ctx, c)
	if err != nil {
		return nil, localErr(BadRequest, NotSent, err, "the request can't be made: %v", err)
	}
	resp, err := r.cli.Do(req)
	if err != nil {
		d := NotSent
		if sent.Load() {
			d = Unknown
		}
		return nil, localErr(Unavailable, d, err, "%v", err)
	}
	defer resp.Body.Close()
	return r.answer(c, resp)
}

// request returns the HTTP request for the packet that c handles.
func (r *relay) request(ctx context.Context, c *Context) (*http.Request, error) {
	b := c.in.body
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url(c.Path()).String(), bytes.NewReader(bytes.Clone(b.data)))
	if err != nil {
		return nil, err
	}
	h := req.Header
	addMeta(h, "", c.Meta())
	h.Set("Accept", mimeEvents+", */*")
	h.Set("User-Agent", agent)
	switch b.kind {
	case textBody:
		h.Set("Content-Type", mimeText)
	case bytesBody:
		h.Set("Content-Type", mimeBytes)
	default:
		h.Set("Content-Type", mimeJSON)
	}
	if deadline, ok := c.Deadline(); ok {
		h.Set(timeoutHeader, max(time.Until(deadline), time.Millisecond).String())
	}
	if auth, _ := c.Conn().Identity().(json.RawMessage); len(auth) > 0 {
		h.Set(authHeader, escape(string(auth), valueByte))
	}
	return req, nil
}

// answer returns what an HTTP answer is.
func (r *relay) answer(c *Context, resp *http.Response) (any, error) {
	h := resp.Header
	outcome := h.Get(outcomeHeader)
	contentType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case outcome == "":
		return nil, localErr(Unavailable, Unknown, nil, "%s answered %s, and that is no answer of FlyRPC: there may be a proxy between, or another server", resp.Request.URL.Host, resp.Status)
	case resp.StatusCode >= 400:
		return nil, r.failure(c, resp, outcome)
	case contentType == mimeEvents:
		return nil, r.items(c, resp)
	case contentType == mimeBytes && resp.ContentLength < 0:
		return nil, r.bytes(c, resp)
	}
	keepMeta(c, h)
	body, err := r.whole(resp)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNoContent:
		return nil, nil
	case contentType == mimeBytes:
		return body, nil
	case contentType == "text/plain":
		return string(body), nil
	}
	return webBody(bytes.TrimSuffix(body, []byte("\n"))), nil
}

// bytes sends the bytes of a handler's io.Reader on, as they come.
func (r *relay) bytes(c *Context, resp *http.Response) error {
	keepMeta(c, resp.Header)
	body := &faultReader{r: resp.Body}
	err := c.openStream().Send(io.Reader(body))
	if body.err != nil {
		return errCut(body.err)
	}
	keepMeta(c, resp.Trailer)
	return err
}

// errCut is the error of an answer that has no end.
func errCut(err error) error {
	return localErr(Unavailable, Unknown, err, "the answer was cut: %v", err)
}

// whole reads an answer's body.
func (r *relay) whole(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(r.most)+2)) // a line break isn't the message's
	switch {
	case err != nil:
		return nil, errCut(err)
	case len(bytes.TrimSuffix(body, []byte("\n"))) > r.most:
		return nil, localErr(TooLong, Answered, nil, "the answer has more than the %d bytes that are accepted", r.most)
	}
	return body, nil
}

// failure returns the error that an answer is.
func (r *relay) failure(c *Context, resp *http.Response, outcome string) error {
	body, err := r.whole(resp)
	if err != nil {
		return err
	}
	keepMeta(c, resp.Header)
	d := map[string]Delivery{"answered": Answered, "not-processed": NotProcessed}[outcome]
	return errorIn(body, d, resp.Status)
}

// errorIn returns the error in JSON.
func errorIn(text []byte, d Delivery, status string) error {
	var e httpError
	if err := json.Unmarshal(text, &e); err != nil || e.Code == "" {
		return localErr(Unavailable, d, nil, "the answer is %s, without an error that can be read", status)
	}
	failed := localErr(e.Code, d, nil, "%s", e.Message)
	if len(e.Details) > 0 {
		failed.Details = webBody(e.Details)
	}
	return failed
}

// keepMeta adds the metadata in a header to the response.
func keepMeta(c *Context, h http.Header) {
	v, ok := metaFrom(context.Background(), h).Value(outgoingKey).(*outgoingValues)
	if !ok {
		return
	}
	for key, value := range userMeta(v.meta) {
		_ = c.SetMeta(key, value) // it was within the limit where it comes from
	}
}

// items sends the items of server-sent events on, as they come.
func (r *relay) items(c *Context, resp *http.Response) error {
	keepMeta(c, resp.Header)
	events := &eventReader{lines: lineReader{r: resp.Body, most: 2*r.most + 64, begun: func() {}, ended: func() {}, blank: true}}
	for {
		event, data, err := events.next()
		switch {
		case err == io.EOF:
			return errCut(io.ErrUnexpectedEOF)
		case errors.Is(err, errLongLine):
			return localErr(TooLong, Answered, nil, "an item has more than the %d bytes that are accepted", r.most)
		case err != nil:
			return errCut(err)
		}
		switch event {
		case "end":
			_, _ = io.CopyN(io.Discard, resp.Body, 1) // so that the trailers are there
			keepMeta(c, resp.Trailer)
			return nil
		case "error":
			return errorIn(data, Answered, "an event")
		case "":
			if err := c.openStream().Send(webBody(data)); err != nil {
				return err
			}
		}
	}
}

// eventReader reads server-sent events.
type eventReader struct {
	lines lineReader
	data  []byte
}

// next returns the name and the data of the next event. The data is valid until the next call.
func (r *eventReader) next() (event string, data []byte, err error) {
	r.data = r.data[:0]
	some := false
	for {
		line, err := r.lines.next()
		if err != nil {
			return "", nil, err
		}
		if len(line) == 0 {
			if some {
				return event, r.data, nil
			}
			event = ""
			continue
		}
		field, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event = value
		case "data":
			if some {
				r.data = append(r.data, '\n')
			}
			some = true
			if r.data = append(r.data, value...); len(r.data) > r.lines.most {
				return "", nil, errLongLine
			}
		}
	}
}
