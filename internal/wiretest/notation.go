package wiretest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// maxText is the most bytes that one text in the notation may stand for.
const maxText = 1 << 20

// seqName is how a text of bytes refers to a sequence: {seq:a}.
const seqName = "{seq:"

// template is what a text of bytes stands for. The two bytes at a hole are a sequence that
// isn't known before the scenario is played.
type template struct {
	bytes []byte
	at    int    // where the hole is, if name isn't empty
	name  string // of the sequence in the hole
}

// parseBytes reads bytes in the notation of the scenarios: hex digits, 'text', both with *n behind them
// for n times the same, and {seq:a}, with spaces between them.
func parseBytes(text string) (template, error) {
	var t template
	for rest := strings.TrimLeft(text, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word, after, err := cutWord(rest)
		if err != nil {
			return template{}, err
		}
		rest = after
		if name, ok := strings.CutPrefix(word, seqName); ok {
			name, closed := strings.CutSuffix(name, "}")
			if !closed || name == "" || t.name != "" {
				return template{}, fmt.Errorf("%q: one {seq:name} is what there can be", word)
			}
			t.name, t.at = name, len(t.bytes)
			t.bytes = append(t.bytes, 0, 0)
			continue
		}
		if t.bytes, err = appendWord(t.bytes, word); err != nil {
			return template{}, err
		}
	}
	return t, nil
}

// cutWord takes the first word off text, which may have spaces where it is quoted.
func cutWord(text string) (word, rest string, err error) {
	from := 0
	if text[0] == '\'' {
		end := strings.IndexByte(text[1:], '\'')
		if end < 0 {
			return "", "", fmt.Errorf("%q has no second quote", text)
		}
		from = end + 2
	}
	end := strings.IndexByte(text[from:], ' ')
	if end < 0 {
		return text, "", nil
	}
	return text[:from+end], text[from+end:], nil
}

// appendWord appends the bytes of one word.
func appendWord(dst []byte, word string) ([]byte, error) {
	what, times := word, 1
	if star := strings.LastIndexByte(word, '*'); star > strings.LastIndexByte(word, '\'') {
		n, err := strconv.Atoi(word[star+1:])
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: the number behind * is wrong", word)
		}
		what, times = word[:star], n
	}
	var unit []byte
	if strings.Count(what, "'") == 2 && what[0] == '\'' && what[len(what)-1] == '\'' {
		unit = []byte(what[1 : len(what)-1])
	} else {
		var err error
		if unit, err = hex.DecodeString(what); err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
	}
	if len(dst)+len(unit)*times > maxText {
		return nil, fmt.Errorf("%q stands for too many bytes", word)
	}
	return append(dst, bytes.Repeat(unit, times)...), nil
}

// plainBytes is parseBytes for a text without sequences.
func plainBytes(text string) ([]byte, error) {
	t, err := parseBytes(text)
	if err == nil && t.name != "" {
		err = fmt.Errorf("%q: no sequence can stand here", text)
	}
	return t.bytes, err
}

// size is a number of bytes or of times, which may depend on the other end's limits: "4096",
// "frame+1", "2*window".
type size struct {
	factor, plus int
	name         string // of the limit; empty if there is none
}

// parseSize reads a size.
func parseSize(text string) (size, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return size{plus: n}, nil
	}
	s := size{factor: 1, name: text}
	if n, rest, ok := strings.Cut(text, "*"); ok {
		factor, err := strconv.Atoi(n)
		if err != nil || factor < 1 {
			return s, fmt.Errorf("%q is no size", text)
		}
		s.factor, s.name = factor, rest
	}
	if i := strings.IndexAny(s.name, "+-"); i >= 0 {
		plus, err := strconv.Atoi(s.name[i:])
		if err != nil {
			return s, fmt.Errorf("%q is no size", text)
		}
		s.plus, s.name = plus, s.name[:i]
	}
	if !new(limits).has(s.name) {
		return s, fmt.Errorf("%q is no size: %q is no limit of hello", text, s.name)
	}
	return s, nil
}

// of returns the size for an end with limits l.
func (s size) of(l *limits) int {
	if s.name == "" {
		return s.plus
	}
	return s.factor*l.get(s.name) + s.plus
}
