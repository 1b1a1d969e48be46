package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// ZipMethod is a compression method. The zero ZipMethod is none.
type ZipMethod uint8

// The compression methods. ZipFlate is raw flate, RFC 1951; ZipZstd is Zstandard,
// RFC 8878, which is faster and packs better.
const (
	ZipNone ZipMethod = iota
	ZipFlate
	ZipZstd
)

// String returns the method's name in hello, or "none".
func (m ZipMethod) String() string { return m.method().String() }

// method returns the method as package compress has it; an unknown one is none.
func (m ZipMethod) method() compress.Method {
	switch m {
	case ZipFlate:
		return compress.Flate
	case ZipZstd:
		return compress.Zstd
	}
	return compress.None
}

// ZipLevel is how much time may be taken to make bodies smaller.
type ZipLevel uint8

// The levels. ZipFastest is the default.
const (
	ZipFastest ZipLevel = iota
	ZipBalanced
	ZipSmallest
)

// DefaultMinBody is the default of Zip.MinBody, in bytes.
const DefaultMinBody = 2 << 10

// minZipCode is the size in bytes from which codes are compressed.
const minZipCode = 64

// Zip says what a side compresses on its way out. Whatever it says, that side inflates
// what the other end has compressed. Nothing is compressed where it would not become
// smaller, by a method that the other end hasn't offered to inflate, to a version 1 peer, or in
// replies of routes with NoCompress.
type Zip struct {
	// Body is the method for the bodies of messages and replies.
	Body ZipMethod
	// Code is the method for paths of at least 64 bytes for which no learned code stands.
	Code ZipMethod
	// Level is how much time may be taken to make bodies smaller. Default ZipFastest.
	Level ZipLevel
	// MinBody is the size in bytes from which bodies are compressed. Default 2 KiB.
	MinBody int
}

// ownMethods are what this side inflates.
func ownMethods() compress.Set { return compress.Set(0).With(compress.Zstd).With(compress.Flate) }

// offered returns the methods that hello names, by their names there. Unknown ones are left out.
func offered(names []string) (s compress.Set) {
	for _, name := range names {
		if m, ok := compress.ParseMethod(name); ok {
			s = s.With(m)
		}
	}
	return s
}

// agreeZip sets what is compressed for an end that inflates the methods in can.
func (m *mode) agreeZip(z Zip, can compress.Set) {
	if method := z.Body.method(); can.Has(method) {
		m.zipBody = method
		m.minZip = z.MinBody
		setDefault(&m.minZip, DefaultMinBody)
	}
	if method := z.Code.method(); can.Has(method) {
		m.zipCode = method
	}
}

// zip compresses what is to be compressed of f, a request, message or reply. f.zipped is
// then the buffer that the body is in; see unborrow.
func (ep *endpoint) zip(f *frame, m *mode) {
	if m.zipBody != compress.None && len(f.body) >= m.minZip {
		buf := ep.borrow()
		out, ok := ep.zipper.Append((*buf)[:0], f.body, m.zipBody)
		if ok {
			f.body, f.zipped, f.keep, f.lent = out, buf, true, nil
			f.flag |= FlagZipPayload
		} else {
			ep.scratch.Put(buf)
		}
	}
	if m.zipCode != compress.None && f.path && len(f.code) >= minZipCode && (m.codes == 0 || len(f.code) > maxTaught) {
		if out, ok := ep.zipper.AppendCode(nil, f.code, m.zipCode); ok {
			f.code, f.path = string(out), false
			f.flag |= FlagZipCode
		}
	}
}

// unborrow gives back the buffer of a compressed body that is queued or won't be.
func (ep *endpoint) unborrow(f *frame) {
	if f.zipped != nil && len(f.body) < largeBody { // else the writer has it
		*f.zipped = f.body
		ep.scratch.Put(f.zipped)
	}
}

// inflate returns the body of a packet with flag, inflated if it is compressed. What is inflated
// at the same time on a connection is one largest message altogether. The error is an Error with TooLong or
// BadRequest.
func (c *Conn) inflate(flag Flag, body []byte) (out []byte, inflated bool, err error) {
	if flag&FlagZipPayload == 0 {
		return body, false, nil
	}
	most := c.ep.limits.maxMessage
	need := min(compress.Bound(body, most), flow.Max)
	inflating := &c.memory().inflating
	if err := inflating.spend(context.Background(), c, need, "inflated bytes"); err != nil {
		return nil, false, err
	}
	defer inflating.refund(need)
	out, err = c.ep.zipper.Inflate(nil, body, most, ownMethods())
	switch {
	case errors.Is(err, compress.ErrTooLong):
		return nil, false, Errorf(TooLong, "the message inflates to more than the %d bytes that are accepted", most)
	case err != nil:
		return nil, false, Errorf(BadRequest, "the message can't be inflated: %w", err)
	}
	return out, true, nil
}

// inflateCode replaces a compressed code by what it holds.
func (c *Conn) inflateCode(p *received) error {
	code, err := c.ep.zipper.InflateCode(nil, p.code, maxCodeLen, ownMethods())
	switch {
	case err != nil:
		return fmt.Errorf("the code can't be inflated: %w", err)
	case bytes.IndexByte(code, 0) >= 0:
		return fmt.Errorf("the code, when inflated, has a zero byte")
	case p.flag&FlagResponse == 0 && len(code) > 0 && code[0] == learnedMark:
		return fmt.Errorf("the code, when inflated, begins like a learned code")
	}
	p.wireCode, p.code = p.code, code
	return nil
}

// badCode answers a packet whose code can't be inflated.
func (c *Conn) badCode(p *received, cause error) error {
	switch {
	case p.flag&FlagResponse != 0 && p.flag&FlagStream == 0:
		if s, _ := c.calls.claim(p.seq); s != nil {
			s.dropPart()
			s.answer = answer{err: localErr(BadRequest, Answered, cause, "the answer: %v", cause)}
			s.deliver()
		}
	case p.flag&(FlagWait|FlagResponse) == FlagWait:
		c.dropHalf(p.seq)
		return c.reject(p.seq, BadRequest, cause.Error())
	case p.flag&FlagStream != 0:
		return cause // a frame is never compressed
	default:
		c.logDropped(cause.Error(), "")
		return c.dropLong(p)
	}
	return nil
}

// badAnswer returns the error of a call whose answer can't be read.
func badAnswer(err error) error {
	code := BadRequest
	if errors.Is(err, TooLong) {
		code = TooLong
	}
	return localErr(code, Answered, err, "the answer: %v", err)
}

// borrow returns a buffer to compress a body in.
func (ep *endpoint) borrow() *[]byte {
	if b, ok := ep.scratch.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}
