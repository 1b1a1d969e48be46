package json

import (
	"fmt"
	"unicode/utf8"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

// What values take in memory beyond the element they are stored in.
const (
	boxedNumber = 8
	boxedText   = 16
	boxedArray  = 88 // with what json-iterator allocates to read one
	boxedObject = 64
	roundUp     = 8
	oddNumber   = 128 // the error that encoding/json makes for each that doesn't fit
	longNumber  = 15  // bytes from which a number is copied to be read
)

// manyEscapes is how many bytes of text with escapes json-iterator may
// read; it doubles its buffer as it goes.
const manyEscapes = 64 << 10

// selfCopies is how often a type that decodes itself may copy the data: to parse
// it, and to quote it in an error. badCopies is what bad UTF-8 costs encoding/json.
const (
	selfCopies = 9
	badCopies  = 8
)

// longInteger is from how many digits json-iterator can miss that an integer is
// too large for its type, and longExponent from how many it refuses numbers that nobody reads.
const (
	longInteger  = 19
	longExponent = 2
)

// container is an array or object around the current value.
type container struct {
	items  uint32
	object bool
}

// scan looks through data once, without recursion, and finds out whether it is
// one valid JSON value and may be decoded.
type scan struct {
	data   []byte
	plan   *plan.Plan
	depth  int    // how deep arrays and objects may be nested
	budget uint64 // how many bytes decoding may take

	pos       int
	cost      uint64
	level     int
	stack     []container // as long as depth
	escaped   int         // bytes of text with escapes
	long      bool        // there is a number of longInteger or longExponent digits
	surrogate bool        // there is an escaped surrogate
	high      bool        // there is a byte outside ASCII
	bad       bool        // that is not UTF-8
}

// odd says whether the data has what json-iterator reads otherwise than
// encoding/json, or with much more memory.
func (s *scan) odd() bool {
	return s.surrogate || s.long || s.escaped > manyEscapes || s.bad
}

func (s *scan) run() error {
	for {
		opened, err := s.value()
		if err != nil {
			return err
		}
		if opened {
			continue
		}
		more, err := s.next()
		if err != nil {
			return err
		}
		if !more {
			return s.end()
		}
	}
}

func (s *scan) end() error {
	if s.pos < len(s.data) {
		return s.unexpected("nothing after the value")
	}
	if s.plan.Self {
		s.cost += selfCopies * uint64(len(s.data))
	}
	if s.bad = s.high && !utf8.Valid(s.data); s.bad {
		s.cost += badCopies * uint64(len(s.data))
	}
	return s.check()
}

func (s *scan) check() error {
	if s.cost > s.budget {
		return &serializer.LimitError{Serializer: name, Limit: serializer.LimitMemory, Max: s.budget}
	}
	return nil
}

// value passes one value, or enters an array or object that is not empty: then
// opened is true, and the next value is its first.
func (s *scan) value() (opened bool, err error) {
	c, ok := s.peek()
	if !ok {
		return false, s.unexpected("a value")
	}
	switch c {
	case '"':
		s.box(boxedText)
		return false, s.text()
	case '{':
		return s.open(true)
	case '[':
		return s.open(false)
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	}
	s.box(boxedNumber)
	return false, s.number()
}

// next goes from the end of a value to the start of the one that follows; there
// is none when the outermost has ended.
func (s *scan) next() (more bool, err error) {
	for s.level > 0 {
		top := &s.stack[s.level-1]
		c, _ := s.peek()
		switch {
		case c == ',':
			s.pos++
			return true, s.enter(top)
		case c == ']' && !top.object, c == '}' && top.object:
			s.pos++
			s.level--
		case top.object:
			return false, s.unexpected("',' or '}'")
		default:
			return false, s.unexpected("',' or ']'")
		}
	}
	s.peek()
	return false, nil
}

// open enters an array or object.
func (s *scan) open(object bool) (bool, error) {
	if s.level >= s.depth {
		return false, &serializer.LimitError{Serializer: name, Limit: serializer.LimitDepth, Max: uint64(s.depth)}
	}
	s.pos++
	closing := byte(']')
	if object {
		closing = '}'
		s.box(boxedObject)
		s.cost += s.plan.Level(s.level).Header
	} else {
		s.box(boxedArray)
	}
	if c, _ := s.peek(); c == closing {
		s.pos++
		return false, nil
	}
	s.stack[s.level] = container{object: object}
	s.level++
	return true, s.enter(&s.stack[s.level-1])
}

// enter counts one more element or entry of the innermost array or object, and
// passes the entry's key.
func (s *scan) enter(top *container) error {
	top.items++
	level := s.plan.Level(s.level - 1)
	if !top.object {
		s.cost += level.Item
		return s.check()
	}
	s.cost += level.Map(uint64(top.items)) - level.Map(uint64(top.items-1))
	if err := s.check(); err != nil {
		return err
	}
	if c, _ := s.peek(); c != '"' {
		return s.unexpected("a key in quotes")
	}
	if err := s.text(); err != nil {
		return err
	}
	if c, _ := s.peek(); c != ':' {
		return s.unexpected("':'")
	}
	s.pos++
	return nil
}

func (s *scan) box(n uint64) {
	if s.plan.Dynamic {
		s.cost += n
	}
}

// peek skips white space and returns the byte behind it.
func (s *scan) peek() (c byte, ok bool) {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, true
		}
	}
	return 0, false
}

func (s *scan) literal(want string) error {
	if len(s.data)-s.pos < len(want) || string(s.data[s.pos:s.pos+len(want)]) != want {
		return s.unexpected(want)
	}
	s.pos += len(want)
	return nil
}

func (s *scan) unexpected(want string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("json: the data ends at byte %d; expected %s", s.pos, want)
	}
	return fmt.Errorf("json: %q at byte %d; expected %s", s.data[s.pos], s.pos, want)
}
