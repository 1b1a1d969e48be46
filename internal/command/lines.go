package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// firstBuffer is how many bytes a Lines takes before any have come.
	firstBuffer = 4 << 10
	// keptBuffer is the most bytes that it keeps between lines.
	keptBuffer = 64 << 10
	// maxEmptyReads is how many reads in a row may come back with neither bytes nor an error.
	maxEmptyReads = 100
)

// MaxSkip is how many times the limit a line may be to be skipped.
const MaxSkip = 16

// ErrLong means that a line, or message, is longer than the limit. The next one can be read.
var ErrLong = errors.New("the command is too long")

// Lines reads lines of bounded length. It is for one goroutine at a time.
type Lines struct {
	r   io.Reader
	max int
	// before, if it isn't nil, is called before bytes are waited for. n is how many have come of a line that isn't complete.
	before func(n int) error

	buf     []byte // what has come of buf[:cap] and isn't returned yet: buf[from:]
	from    int
	seen    int // bytes from from on that have no newline
	skipped int // bytes of a line that is too long; 0 while there is none
	end     error
}

// NewLines returns a Lines that reads r and takes lines of at most max bytes. before, which may be nil, is called before
// bytes are waited for, with the number of those that have come of a line that isn't complete; its error is returned.
func NewLines(r io.Reader, limit int, before func(n int) error) *Lines {
	return &Lines{r: r, max: limit, before: before}
}

// SetBefore sets what is called before bytes are waited for.
func (l *Lines) SetBefore(before func(n int) error) { l.before = before }

// Next returns the next line that isn't blank, without the newline, which is valid until the next call. The last line may lack its newline. The
// error is ErrLong for a line that is too long, after which the next call skips it, and then that of the reader, such as io.EOF.
func (l *Lines) Next() ([]byte, error) {
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// line returns the next line, blank or not.
func (l *Lines) line() ([]byte, error) {
	for {
		data := l.buf[l.from:]
		if i := bytes.IndexByte(data[l.seen:], '\n'); i >= 0 {
			line := data[:l.seen+i]
			l.from += len(line) + 1
			l.seen = 0
			if l.skipped > 0 {
				l.skipped = 0
				continue
			}
			if len(line) > l.max {
				return nil, l.long()
			}
			return line, nil
		}
		l.seen = len(data)
		switch {
		case l.skipped > 0:
			l.skipped += len(data)
			l.buf, l.from, l.seen = l.buf[:0], 0, 0
			if l.skipped/MaxSkip > l.max {
				return nil, fmt.Errorf("a command has more than %d times the %d bytes that are accepted", MaxSkip, l.max)
			}
		case len(data) > l.max:
			l.skipped = len(data)
			l.buf, l.from, l.seen = l.buf[:0], 0, 0
			return nil, l.long()
		}
		if l.end != nil {
			return l.last()
		}
		if err := l.fill(); err != nil {
			l.end = err
		}
	}
}

// long returns the error of a line that is too long.
func (l *Lines) long() error { return fmt.Errorf("%w: at most %d bytes are accepted", ErrLong, l.max) }

// last returns what stands behind the last newline, if the reader has ended in order, and then its error.
func (l *Lines) last() ([]byte, error) {
	rest := l.buf[l.from:]
	l.buf, l.from, l.seen = nil, 0, 0
	if l.end != io.EOF || l.skipped > 0 || len(bytes.TrimSpace(rest)) == 0 {
		return nil, l.end
	}
	return rest, nil
}

// fill reads more bytes.
func (l *Lines) fill() error {
	have := len(l.buf) - l.from
	switch {
	case l.from > 0 || cap(l.buf) > keptBuffer && have == 0:
		l.compact(have)
	case len(l.buf) == cap(l.buf):
		grown := make([]byte, have, max(firstBuffer, 2*cap(l.buf)))
		copy(grown, l.buf)
		l.buf = grown
	}
	for range maxEmptyReads {
		if l.before != nil {
			if err := l.before(have + l.skipped); err != nil {
				return err
			}
		}
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// compact moves what has come to the front of the buffer, of which no more is kept than is needed.
func (l *Lines) compact(have int) {
	rest := l.buf[l.from:]
	if cap(l.buf) > keptBuffer && have < firstBuffer {
		l.buf = make([]byte, have, firstBuffer)
	}
	l.buf = l.buf[:copy(l.buf[:cap(l.buf)], rest)]
	l.from = 0
}
