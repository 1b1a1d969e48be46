package service

import (
	"fmt"
	"strings"
	"unicode"
)

// MaxSubject is the most bytes a subject may have.
const MaxSubject = 1 << 10

// CheckSubject returns an error that matches ErrBadSubject and says what is wrong with a subject, or nil. wildcards says
// whether * and > may stand for tokens.
func CheckSubject(subject string, wildcards bool) error {
	if len(subject) > MaxSubject {
		return fmt.Errorf("%w: it has %d bytes, at most %d are possible", ErrBadSubject, len(subject), MaxSubject)
	}
	if plain(subject) {
		return nil
	}
	for rest, more := subject, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			return fmt.Errorf("%w %q: a token is empty; write tokens such as user.created", ErrBadSubject, subject)
		case token == "*" || token == ">":
			if !wildcards {
				return fmt.Errorf("%w %q: the wildcards * and > are for subscriptions alone", ErrBadSubject, subject)
			}
			if token == ">" && more {
				return fmt.Errorf("%w %q: > has to be the last token", ErrBadSubject, subject)
			}
		case strings.ContainsFunc(token, func(r rune) bool { return r == '*' || r == '>' || unicode.IsSpace(r) || unicode.IsControl(r) }):
			return fmt.Errorf("%w %q: the token %q has a space, a control character, or a wildcard that isn't the whole token", ErrBadSubject, subject, token)
		}
	}
	return nil
}

// plain reports whether a subject, as nearly all are, is tokens of printable ASCII without wildcards, which takes no more to see than to look at each byte.
func plain(subject string) bool {
	last := byte('.')
	for i := range len(subject) {
		c := subject[i]
		if c <= ' ' || c >= 0x7f || c == '*' || c == '>' || c == '.' && last == '.' {
			return false
		}
		last = c
	}
	return last != '.'
}

// MatchSubject reports whether a subject without wildcards is one that pattern, which may have some, stands for. Both
// have to be well-formed.
func MatchSubject(pattern, subject string) bool {
	for {
		p, morePattern, ok := strings.Cut(pattern, ".")
		s, moreSubject, more := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != s:
			return false
		case !ok || !more:
			return !ok && !more
		}
		pattern, subject = morePattern, moreSubject
	}
}
