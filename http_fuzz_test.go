package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzHTTPMeta: metadata comes through headers as it was, and what others write there does no harm.
func FuzzHTTPMeta(f *testing.F) {
	f.Add("key", "value")
	f.Add("Key with spaces", " a%41\x00\r\nb ")
	f.Add("%", "%%4")
	f.Add("größe", "\xff%zz%4")
	f.Fuzz(func(t *testing.T, key, value string) {
		h := http.Header{}
		addMeta(h, "", Metadata{key: value})
		for name, values := range h {
			if textproto.CanonicalMIMEHeaderKey(name) != name || strings.ContainsAny(name+values[0], "\r\n\x00 "[:3]) || strings.TrimSpace(values[0]) != values[0] {
				t.Fatalf("%q: %q can't be a header", name, values)
			}
		}
		got := metaOf(t, h)
		if len(key)+len(value) < 1000 && key != "" && (len(got) != 1 || got[key] != value) {
			t.Fatalf("%q: %q came back as %q", key, value, got)
		}
		metaOf(t, http.Header{textproto.CanonicalMIMEHeaderKey("Fly-Meta-" + key): {value, key}})
	})
}

// metaOf returns the metadata in a header.
func metaOf(t *testing.T, h http.Header) Metadata {
	v, ok := metaFrom(context.Background(), h).Value(outgoingKey).(*outgoingValues)
	if !ok {
		return nil
	}
	if err := checkMeta(v.meta); err != nil {
		t.Fatalf("%q: %v", h, err)
	}
	for e := range ParseMeta(v.meta) {
		if e.ID != MetaKey {
			t.Fatalf("%q sets the internal entry %d", h, e.ID)
		}
	}
	return userMeta(v.meta)
}

// FuzzHTTPTimeout: a timeout is positive and can be added to a time, or it is refused.
func FuzzHTTPTimeout(f *testing.F) {
	for _, s := range []string{"", "250ms", "1.5h", "-1s", "9999999h", "1", "NaN", "0s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := timeoutOf(http.Header{timeoutHeader: {text}})
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Code != BadRequest) {
			t.Fatalf("%q: %v", text, err)
		}
		if now := time.Now(); err == nil && text != "" && !now.Add(d).After(now) {
			t.Fatalf("%q is %v", text, d)
		}
	})
}

// FuzzHTTPLines: the lines are those of the text, however it comes, and none is longer than the limit.
func FuzzHTTPLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n \nc"), uint16(3))
	f.Add([]byte("abcd\ne"), uint16(3))
	f.Add([]byte(strings.Repeat("x", 9000)+"\ny\n"), uint16(9000))
	f.Fuzz(func(t *testing.T, text []byte, most uint16) {
		var want [][]byte
		var wantErr error = io.EOF
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			if len(line) > int(most) {
				wantErr = errLongLine
				break
			}
			if len(bytes.TrimSpace(line)) > 0 {
				want = append(want, bytes.TrimSuffix(line, []byte("\r")))
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(text), iotest.OneByteReader(bytes.NewReader(text)), iotest.DataErrReader(bytes.NewReader(text))} {
			partial := false
			l := &lineReader{r: r, most: int(most), begun: func() { partial = true }, ended: func() { partial = false }}
			for i := 0; ; i++ {
				line, err := l.next()
				if err != nil {
					if i != len(want) || err != wantErr {
						t.Fatalf("%q: %v after %d lines, want %v after %d", text, err, i, wantErr, len(want))
					}
					break
				}
				if i >= len(want) || !bytes.Equal(bytes.TrimSuffix(line, []byte("\r")), want[i]) {
					t.Fatalf("%q: line %d is %q", text, i, line)
				}
			}
			_ = partial
		}
	})
}
