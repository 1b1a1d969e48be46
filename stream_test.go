package flyrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
)

// streamHandlers registers handlers of every shape that takes or sends items.
func streamHandlers(r Registrar) {
	on := r.registrar().OnMessage
	on("/count", func(n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i+1, nil) {
					return
				}
			}
		}
	})
	on("/torn", func(n int) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for i := range n {
				yield(fmt.Sprint("line ", i+1), nil)
			}
			yield("", Errorf(Conflict, "torn"))
		}
	})
	on("/sum", func(items iter.Seq2[int, error]) (sum int, err error) {
		for n, err := range items {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	on("/early", func(items iter.Seq2[int, error]) (int, error) {
		for n, err := range items {
			return n, err
		}
		return 0, nil
	})
	on("/pass", func(s *Stream) error {
		for {
			var v any
			if err := s.Recv(&v); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.Send(v); err != nil {
				return err
			}
		}
	})
	on("/join", func(r io.Reader) ([]byte, error) { return io.ReadAll(r) })
	on("/split", func(n int) io.Reader { return io.LimitReader(counting{}, int64(n)) })
	on("/echo", func(v any) any { return v })
	on("/big", func(n int) []byte { return bytes.Repeat([]byte("x"), n) })
	on("/size", func(b []byte) int { return len(b) })
}

// counting reads as bytes that tell where they are.
type counting struct{}

func (counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func TestStreamShapes(t *testing.T) {
	for _, kind := range []string{"mem", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			setup := func(srv *Server, cli *Client) {
				streamHandlers(srv)
				streamHandlers(cli)
			}
			var p *pair
			if kind == "mem" {
				p = newPair(t, nil, nil, setup)
			} else {
				p = newTCPPair(t, setup)
			}
			for name, c := range map[string]*Conn{"client": p.cc, "server": p.sc} {
				t.Run(name, func(t *testing.T) { checkShapes(t, c) })
				wantEmpty(t, name, c)
			}
		})
	}
}

func checkShapes(t *testing.T, c *Conn) {
	ctx := bounded(t)
	for _, n := range []int{0, 1, 10, 20000} {
		want := 1
		for i, err := range Receive[int](ctx, c, "/count", n) {
			if err != nil || i != want {
				t.Fatalf("item %d of %d: %d, %v", want, n, i, err)
			}
			want++
		}
		if want != n+1 {
			t.Errorf("%d of %d items", want-1, n)
		}
		sum, err := Upload[int](ctx, c, "/sum", nil, slices.Values(make([]int, n)))
		if sum != 0 || err != nil {
			t.Errorf("sum of %d: %d, %v", n, sum, err)
		}
	}
	lines := 0
	for line, err := range Receive[string](ctx, c, "/torn", 3) {
		if err == nil {
			if lines++; line != fmt.Sprint("line ", lines) {
				t.Errorf("got %q", line)
			}
			continue
		}
		if !errors.Is(err, Conflict) || Outcome(err) != Answered || lines != 3 {
			t.Errorf("%v after %d lines", err, lines)
		}
	}
	if n, err := Upload[int](ctx, c, "/early", nil, slices.Values([]int{7, 8, 9})); n != 7 || err != nil {
		t.Errorf("early: %d, %v", n, err)
	}
	var back []string
	for s, err := range Exchange[string, string](ctx, c, "/pass", nil, slices.Values([]string{"a", "b", "c"})) {
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, s)
	}
	if strings.Join(back, "") != "abc" {
		t.Errorf("got %q", back)
	}
	for _, n := range []int{0, 1, 100000, 3 << 20} {
		data, err := Call[[]byte](ctx, c, "/join", io.LimitReader(counting{}, int64(n)))
		if len(data) != n || err != nil {
			t.Errorf("join %d: %d bytes, %v", n, len(data), err)
		}
		if data, err = Call[[]byte](ctx, c, "/split", n); len(data) != n || err != nil {
			t.Errorf("split %d: %d bytes, %v", n, len(data), err)
		}
		r, err := Call[io.ReadCloser](ctx, c, "/split", n)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := io.Copy(io.Discard, r); int(m) != n || err != nil {
			t.Errorf("split %d: %d bytes, %v", n, m, err)
		}
		if data, err = Call[[]byte](ctx, c, "/big", n); len(data) != n || err != nil {
			t.Errorf("big %d: %d bytes, %v", n, len(data), err)
		}
		if m, err := Call[int](ctx, c, "/size", make([]byte, n)); m != n || err != nil {
			t.Errorf("size %d: %d, %v", n, m, err)
		}
	}
	wantFailed(t, c.Call(ctx, "/count", 3, new(int)), BadRequest, Answered)
	wantFailed(t, c.Call(ctx, "/count", 3, nil), BadRequest, Answered)
	for range Receive[int](ctx, c, "/count", 1<<30) {
		break
	}
}
