// Package pathtree finds, for a path, the value of the pattern that matches it best.
//
// A path is any text. Slashes divide it into segments: "/user/7" has the segments
// "", "user" and "7", and "user.get" is one segment. A pattern is a path in which
//
//   - a segment {name} stands for any one segment that isn't empty, and
//   - a last segment {name...} stands for all the segments that are left, of which
//     there is at least one. It may be a single empty one: /files/{path...} matches
//     /files/ with an empty path, and doesn't match /files.
//
// A name is a Go identifier or keyword and occurs once in a pattern. A brace that opens stands
// nowhere but at the beginning of such a segment. All else is literal and compared
// byte by byte; so is a slash at the end.
//
// Where several patterns match, the segments decide one after another from the
// left: literal text goes before {name}, and {name} before {name...}.
package pathtree

import (
	"errors"
	"fmt"
	"go/token"
	"slices"
	"strings"
)

// MaxSegments is the most segments a pattern may have. Paths may have more: what is
// left of one is the value of a {name...}, or doesn't match.
const MaxSegments = 256

// Pattern is a parsed pattern. It is immutable. The zero Pattern is that of the
// empty path.
type Pattern struct {
	text     string
	segments []segment // nil if the pattern is exact
	names    []string
}

// segment is a part of a pattern between slashes.
type segment struct {
	kind segmentKind
	text string // the literal text; empty for the others
}

type segmentKind uint8

const (
	literal segmentKind = iota
	one                 // {name}
	rest                // {name...}
)

// Parse parses a pattern. The error says what is wrong with it and where.
func Parse(text string) (Pattern, error) {
	if strings.IndexByte(text, '{') < 0 {
		return Pattern{text: text}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) > MaxSegments {
		return Pattern{}, fmt.Errorf("the pattern has %d segments, at most %d", len(parts), MaxSegments)
	}
	p := Pattern{text: text, segments: make([]segment, 0, len(parts))}
	for i, part := range parts {
		s, name, err := parseSegment(part)
		switch {
		case err != nil:
			return Pattern{}, err
		case s.kind == rest && i < len(parts)-1:
			return Pattern{}, fmt.Errorf("%s fills all that is left and must be the last segment", part)
		case slices.Contains(p.names, name):
			return Pattern{}, fmt.Errorf("the name %s occurs twice", name)
		case s.kind != literal:
			p.names = append(p.names, name)
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

// parseSegment parses one segment. A literal one has no name.
func parseSegment(part string) (s segment, name string, err error) {
	switch strings.IndexByte(part, '{') {
	case -1:
		return segment{kind: literal, text: part}, "", nil
	case 0:
	default:
		return s, "", fmt.Errorf("segment %q has a { in its middle: {name} fills a whole segment between slashes", part)
	}
	name, closed := strings.CutSuffix(part[1:], "}")
	if !closed {
		return s, "", fmt.Errorf("segment %q begins with { and doesn't end with }: {name} fills a whole segment between slashes", part)
	}
	s.kind = one
	if before, ok := strings.CutSuffix(name, "..."); ok {
		s.kind, name = rest, before
	}
	if err := checkName(name); err != nil {
		return s, "", fmt.Errorf("segment %q: %w", part, err)
	}
	return s, name, nil
}

// checkName says what is wrong with the name of a segment. Keywords are names too:
// {type} and {range} read well in paths.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case token.IsIdentifier(name), token.IsKeyword(name):
		return nil
	}
	return fmt.Errorf("%q is no name: it must be a Go identifier", name)
}

// String returns the text that was parsed.
func (p Pattern) String() string { return p.text }

// Exact reports whether the pattern matches no path but its own text.
func (p Pattern) Exact() bool { return p.segments == nil }

// Names returns the names in the pattern in their order, for reading only.
func (p Pattern) Names() []string { return p.names }

// Shape returns the pattern without its names. Two patterns match the same paths if
// and only if their shapes are equal.
func (p Pattern) Shape() string {
	if p.Exact() {
		return p.text
	}
	var b strings.Builder
	for i, s := range p.segments {
		if i > 0 {
			b.WriteByte('/')
		}
		switch s.kind {
		case literal:
			b.WriteString(s.text)
		case one:
			b.WriteString("{}")
		case rest:
			b.WriteString("{...}")
		}
	}
	return b.String()
}
