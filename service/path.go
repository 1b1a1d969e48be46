package service

import (
	"fmt"
	"strings"
)

// SubjectOf returns the subject, within a service, that a path stands for. A path that has a slash is
// taken segment by segment, without a slash at its beginning: /user/get is user.get. Bytes of a segment that a token can't have are
// written as %XX: dots, wildcards, white space, control bytes, percent signs and all that isn't ASCII; an empty segment is a % alone. Any other path is a
// subject already.
func SubjectOf(path string) string {
	if strings.IndexByte(path, '/') < 0 {
		return path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		segments[i] = escapeToken(s)
	}
	return strings.Join(segments, ".")
}

// escapeToken makes a token of a segment.
func escapeToken(s string) string {
	if s == "" {
		return "%"
	}
	i := 0
	for i < len(s) && !escapes(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if escapes(s[i]) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escapes reports whether a token can't have a byte of a path.
func escapes(c byte) bool {
	return c <= ' ' || c >= 0x7f || c == '.' || c == '*' || c == '>' || c == '%'
}

// PatternOf returns the subject with wildcards for the path of a route: /user/{id}/posts is user.*.posts, and
// /files/{path...} is files.>.
func PatternOf(path string) string {
	if strings.IndexByte(path, '/') < 0 && !strings.HasPrefix(path, "{") {
		return path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		switch {
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "...}"):
			segments[i] = ">"
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}"):
			segments[i] = "*"
		default:
			segments[i] = escapeToken(s)
		}
	}
	return strings.Join(segments, ".")
}
