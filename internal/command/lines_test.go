package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readLines returns all that a Lines returns, with errors as "!text".
func readLines(l *Lines) (got []string) {
	for range 1000 {
		line, err := l.Next()
		switch {
		case errors.Is(err, ErrLong):
			got = append(got, "!long")
		case err != nil:
			return append(got, "!"+err.Error())
		default:
			got = append(got, string(line))
		}
	}
	return append(got, "never ends")
}

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{"", []string{"!EOF"}},
		{"a\nb\n", []string{"a", "b", "!EOF"}},
		{"\n \t\r\n\na\r\n", []string{"a", "!EOF"}},
		{"a\nb", []string{"a", "b", "!EOF"}},
		{"12345678\n123456789\n1", []string{"12345678", "!long", "1", "!EOF"}},
		{"12345678", []string{"12345678", "!EOF"}},
		{"123456789", []string{"!long", "!EOF"}},
		{strings.Repeat("x", 8*16) + "\na", []string{"!long", "a", "!EOF"}},
		{strings.Repeat("x", 2000), []string{"!long", "!a command has more than 16 times the 8 bytes that are accepted"}},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tc.in), "bytes": iotest.OneByteReader(strings.NewReader(tc.in)),
			"late": iotest.DataErrReader(strings.NewReader(tc.in)),
		} {
			got := readLines(NewLines(r, 8, nil))
			if name == "whole" && len(tc.in) > 1000 { // what came at once may be skipped at once
				got = slices.DeleteFunc(got, func(s string) bool { return s == "!EOF" })
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%.20q, %s: got %q, want %q", tc.in, name, got, tc.want)
			}
		}
	}
}

func TestLinesErrors(t *testing.T) {
	broken := errors.New("broken")
	got := readLines(NewLines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 8, nil))
	if want := []string{"a", "!broken"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = readLines(NewLines(iotest.ErrReader(nil), 8, nil))
	if want := []string{"!" + io.ErrNoProgress.Error()}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLinesBefore(t *testing.T) {
	var seen []int
	l := NewLines(iotest.OneByteReader(strings.NewReader("ab\nc\n123456789012\n")), 8, nil)
	l.SetBefore(func(n int) error { seen = append(seen, n); return nil })
	readLines(l)
	if got, want := fmt.Sprint(seen), "[0 1 2 0 1 0 1 2 3 4 5 6 7 8 9 10 11 12 0]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	refused := errors.New("refused")
	if _, err := NewLines(strings.NewReader("a\n"), 8, func(int) error { return refused }).Next(); err != refused {
		t.Error(err)
	}
}

// Large lines take memory as they come, and give it back.
func TestLinesMemory(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	l := NewLines(strings.NewReader(large+"\na\n"+large+"\nb\nc"), 1<<20, nil)
	for _, want := range []string{large, "a", large, "b", "c"} {
		got, err := l.Next()
		if string(got) != want || err != nil {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
		if cap(l.buf) > 3<<20 {
			t.Errorf("the buffer has %d bytes", cap(l.buf))
		}
	}
	if _, err := l.Next(); err != io.EOF || cap(l.buf) > keptBuffer {
		t.Errorf("%v, and %d bytes are kept", err, cap(l.buf))
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\n \n123456789\nc"), uint8(3))
	f.Add([]byte("\r\n\n"), uint8(1))
	f.Add(bytes.Repeat([]byte("0123456789"), 30), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint8) {
		const limit = 8
		var want []string
		rest := data
		for {
			line, after, more := bytes.Cut(rest, []byte("\n"))
			if text := string(bytes.TrimSpace(line)); len(line) > limit {
				want = append(want, "!long")
			} else if text != "" {
				want = append(want, text)
			}
			if rest = after; !more {
				break
			}
			if len(line) > limit*MaxSkip { // whether it is skipped depends on how it came
				return
			}
		}
		if len(data)-bytes.LastIndexByte(data, '\n') > limit*MaxSkip {
			return
		}
		want = append(want, "!EOF")
		if got := readLines(NewLines(&chunks{data, int(chunk)%16 + 1}, limit, nil)); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// chunks is a reader of n bytes at a time.
type chunks struct {
	data []byte
	n    int
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(c.n, len(b))], c.data)
	c.data = c.data[n:]
	return n, nil
}
