package flyrpctest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/go-flyrpc/flyrpc"
)

// Body is a message or reply as a Recorder keeps it: as JSON, whatever went over the wire, or as raw bytes. Both
// are empty if there was nothing.
type Body struct {
	// JSON is what encoding/json makes of the message or reply.
	JSON json.RawMessage
	// Raw is a []byte; or what can't be made JSON of, as it came; or the beginning of what is longer than MaxBody.
	Raw []byte
	// Cut means that Raw is only the beginning.
	Cut bool
}

// String returns the JSON, or the raw bytes in quotes, or "nothing".
func (b Body) String() string {
	switch {
	case b.JSON != nil:
		return string(b.JSON)
	case b.Cut:
		return fmt.Sprintf("%q...", b.Raw)
	case b.Raw != nil:
		return fmt.Sprintf("%q", b.Raw)
	}
	return "nothing"
}

// Decode decodes the JSON into v, a non-nil pointer. It leaves v alone if there was nothing, and fails for what is raw.
func (b Body) Decode(v any) error {
	switch {
	case b.JSON != nil:
		return json.Unmarshal(b.JSON, v)
	case b.Raw != nil:
		return fmt.Errorf("flyrpctest: the body is raw: %v", b)
	}
	return nil
}

// received records the message of a handler's Context.
func (r *Recorder) received(ctx *flyrpc.Context, payload []byte) Body {
	var v any
	if ctx.Decode(&v) == nil {
		if b := r.body(v); b.JSON != nil || b.Raw != nil || len(payload) == 0 {
			return b
		}
	}
	return r.raw(payload)
}

// body records a message or a reply, or what a pointer to it points to.
func (r *Recorder) body(v any) Body {
	switch p := v.(type) {
	case []byte:
		return r.raw(p)
	case *[]byte:
		return r.raw(*p)
	case *any:
		return r.body(*p)
	case io.Reader, *io.Reader, *io.ReadCloser:
		return Body{}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return Body{}
	}
	out := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	switch {
	case string(out) == "null":
		return Body{}
	case len(out) > orDefault(r.MaxBody, DefaultMaxBody):
		return r.raw(out)
	}
	return Body{JSON: out}
}

// raw records bytes as they are.
func (r *Recorder) raw(b []byte) Body {
	most := orDefault(r.MaxBody, DefaultMaxBody)
	return Body{Raw: append([]byte{}, b[:min(len(b), most)]...), Cut: len(b) > most}
}
