package flyrpc

import (
	"context"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// The headers of FlyRPC. All begin with headerPrefix.
const (
	headerPrefix  = "Fly-"
	metaPrefix    = "Fly-Meta-"   // begins a header that is an entry of metadata
	timeoutHeader = "Fly-Timeout" // how long the caller waits: 250ms
	messageHeader = "Fly-Message" // the message, in JSON, beside items
	outcomeHeader = "Fly-Outcome" // on every answer of FlyRPC: how far the call has come
)

// outcomeText is the value of outcomeHeader for a call that failed with err, which may be nil.
func outcomeText(err error) string {
	switch Outcome(err) {
	case Answered:
		return "answered"
	case NotProcessed, NotSent:
		return "not-processed"
	}
	return "unknown"
}

// metaFrom returns ctx with the metadata in a header.
func metaFrom(ctx context.Context, h http.Header) context.Context {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if key, ok := strings.CutPrefix(name, metaPrefix); ok && key != "" {
			ctx = WithMeta(ctx, unescape(strings.ToLower(key)), unescape(strings.Join(h[name], ", ")))
		}
	}
	return ctx
}

// addMeta adds metadata to a header, each name with a prefix before it.
func addMeta(h http.Header, prefix string, meta Metadata) {
	for key, value := range meta {
		if key != "" {
			name := textproto.CanonicalMIMEHeaderKey(metaPrefix + escape(key, keyByte))
			h[prefix+name] = []string{escape(value, valueByte)}
		}
	}
}

// keyByte reports whether a byte stands for itself in a header's name, whose case is lost.
func keyByte(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.'
}

// valueByte is keyByte for values.
func valueByte(b byte) bool { return ' ' <= b && b <= '~' && b != '%' }

// escape writes the bytes of s that don't stand for themselves as %XX. So it does with spaces that would be cut off.
func escape(s string, plain func(byte) bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if plain(c) && (c != ' ' || i > 0 && i < len(s)-1) {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

// unescape undoes escape. What is no %XX stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// timeoutOf returns the time that a request's header gives the call; 0 if it gives none.
func timeoutOf(h http.Header) (time.Duration, error) {
	text := h.Get(timeoutHeader)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, Errorf(BadRequest, "the header %s is %.40q: write a positive time with its unit, such as 250ms, 1.5s or 2m", timeoutHeader, text)
	}
	return min(d, forEver), nil
}
