package json

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// text passes a string; pos is at its opening quote.
func (s *scan) text() error {
	start := s.pos
	escapes := false
	for s.pos++; s.pos < len(s.data); {
		s.pos += plainBytes(s.data[s.pos:])
		if s.pos == len(s.data) {
			break
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			s.endText(s.pos-start, escapes)
			return nil
		case c == '\\':
			escapes = true
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.unexpected("an escape, as control characters need in text")
		default:
			s.high = s.high || c >= 0x80
			s.pos++
		}
	}
	return s.unexpected("'\"' at the end of the text")
}

func (s *scan) endText(n int, escapes bool) {
	s.cost += uint64(n) + roundUp
	if escapes {
		s.cost += uint64(n)
		s.escaped += n
	}
}

// plainBytes counts the bytes at the start of b, in steps of eight, that mean
// themselves: ASCII without quote, backslash and control characters.
func plainBytes(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		found := (x - ones*' ') | (quote - ones) | (slash - ones) | x
		if found &= highs; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	return n
}

func (s *scan) escape() error {
	s.pos++
	if s.pos == len(s.data) {
		return s.unexpected("an escape")
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		return s.hex()
	}
	return s.unexpected("one of \"\\/bfnrtu after a backslash")
}

// hex passes the u and four digits.
func (s *scan) hex() error {
	r := 0
	for range 4 {
		s.pos++
		if s.pos == len(s.data) {
			return s.unexpected("a hexadecimal digit")
		}
		switch c := s.data[s.pos]; {
		case c >= '0' && c <= '9':
			r = r<<4 + int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 + int(c|0x20-'a') + 10
		default:
			return s.unexpected("a hexadecimal digit")
		}
	}
	s.pos++
	s.surrogate = s.surrogate || r >= 0xd800 && r <= 0xdfff
	return nil
}

// number passes a number, and nothing that only looks like one.
func (s *scan) number() error {
	start := s.pos
	s.accept('-', '-')
	switch {
	case s.accept('0', '0'):
	case s.digits():
	default:
		return s.unexpected("a value")
	}
	long := s.pos-start >= longInteger
	if s.accept('.', '.') && !s.digits() {
		return s.unexpected("a digit after the point")
	}
	if s.accept('e', 'E') {
		s.accept('+', '-')
		exponent := s.pos
		if !s.digits() {
			return s.unexpected("a digit in the exponent")
		}
		long = long || s.pos-exponent >= longExponent
	}
	if long {
		s.long = true
		s.cost += oddNumber
	}
	n := s.pos - start
	if n > MaxNumber {
		return &serializer.LimitError{Serializer: name, Limit: fmt.Sprintf("the length %d of a number", n), Max: MaxNumber}
	}
	if n > longNumber {
		s.cost += uint64(n) + roundUp
	}
	return nil
}

func (s *scan) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// accept passes the next byte if it is one of two.
func (s *scan) accept(a, b byte) bool {
	if s.pos < len(s.data) && (s.data[s.pos] == a || s.data[s.pos] == b) {
		s.pos++
		return true
	}
	return false
}
