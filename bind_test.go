package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

type bindSum struct{ A, B int }

// bindParts is embedded in a stub.
type bindParts struct {
	Raw  func(context.Context, []byte) ([]byte, error) `fly:"/bytes"`
	Text func(context.Context, string) (string, error) `fly:"/text"`
}

// bindStub has a function of each shape.
type bindStub struct {
	bindParts
	Inner struct {
		Deep struct {
			None func(context.Context) error `fly:"/none"`
		}
	}
	Add     func(context.Context, *bindSum) (*bindSum, error)                              `fly:"/add"`
	AddOf   func(context.Context, bindSum) (bindSum, error)                                `fly:"/add"`
	AddAny  func(context.Context, any) (any, error)                                        `fly:"/add"`
	AddTwo  func(context.Context, *bindSum) (**bindSum, error)                             `fly:"/add"`
	AddDrop func(context.Context, fmt.Stringer) error                                      `fly:"/add"`
	Now     func(context.Context) (int, error)                                             `fly:"/now"`
	Copy    func(context.Context, io.Reader) (io.ReadCloser, error)                        `fly:"/copy"`
	CopyAny func(context.Context, any) (io.Reader, error)                                  `fly:"/copy"`
	Count   func(context.Context, int) iter.Seq2[int, error]                               `fly:"/count"`
	Sums    func(context.Context, int) iter.Seq2[*bindSum, error]                          `fly:"/sums"`
	Texts   func(context.Context) func(func(string, error) bool)                           `fly:"/texts"`
	Total   func(context.Context, iter.Seq[int]) (int, error)                              `fly:"/total"`
	TotalP  func(context.Context, *bindSum, iter.Seq[int]) (*bindSum, error)               `fly:"/totalFrom"`
	Drop    func(context.Context, func(func(any) bool)) error                              `fly:"/total"`
	Upper   func(context.Context, iter.Seq[string]) iter.Seq2[string, error]               `fly:"/upper"`
	Scale   func(context.Context, *bindSum, iter.Seq[*bindSum]) iter.Seq2[*bindSum, error] `fly:"/scale"`
	Note    func(context.Context, string) error                                            `fly:"/note,oneway"`
	Blank   func(context.Context) error                                                    `fly:"/blank,oneway"`
	Left    func(context.Context) error                                                    // has no tag
	Fail    func(context.Context, string) (*bindSum, error)                                `fly:"/fail"`
	FailAll func(context.Context, iter.Seq[int]) iter.Seq2[int, error]                     `fly:"/nowhere"`
	Missing func(context.Context, iter.Seq[int]) (string, error)                           `fly:"/nowhere"`
	Odd     func(context.Context) error                                                    `fly:"/user/{id}" json:"odd"`
}

// String makes a bindSum an interface that a message may be.
func (s bindSum) String() string { return fmt.Sprint(s.A, s.B) }

// bindHandlers registers what a bindStub calls.
func bindHandlers(on func(path string, h MessageHandler, opts ...RouteOption), notes chan string) {
	on("/none", func() {})
	on("/bytes", func(b []byte) []byte { return append(b, '!') })
	on("/text", strings.ToUpper)
	on("/add", func(q *bindSum) *bindSum { return &bindSum{q.A + q.B, 1} })
	on("/now", func() int { return 7 })
	on("/copy", func(r io.Reader) io.Reader { return r })
	on("/count", func(n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 0; i < n && yield(i, nil); i++ {
				continue
			}
			if n < 0 {
				yield(0, Errorf(Conflict, "no such count"))
			}
		}
	})
	on("/sums", func(n int) iter.Seq2[*bindSum, error] {
		return func(yield func(*bindSum, error) bool) {
			_ = yield(&bindSum{1, n}, nil) && yield(nil, nil) && yield(&bindSum{B: n}, nil)
		}
	})
	on("/texts", func() iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { _ = yield("a", nil) && yield("", nil) }
	})
	total := func(from int, items iter.Seq2[int, error]) (int, error) {
		for n, err := range items {
			if err != nil {
				return 0, err
			}
			from += n
		}
		return from, nil
	}
	on("/total", func(items iter.Seq2[int, error]) (int, error) { return total(0, items) })
	on("/totalFrom", func(q *bindSum, items iter.Seq2[int, error]) (*bindSum, error) {
		n, err := total(q.A, items)
		return &bindSum{n, q.B}, err
	})
	on("/upper", func(items iter.Seq2[string, error]) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for s, err := range items {
				if !yield(strings.ToUpper(s), err) {
					return
				}
			}
		}
	})
	on("/scale", func(q *bindSum, items iter.Seq2[*bindSum, error]) iter.Seq2[*bindSum, error] {
		return func(yield func(*bindSum, error) bool) {
			for s, err := range items {
				if err != nil || !yield(&bindSum{s.A * q.A, s.B * q.B}, nil) {
					return
				}
			}
		}
	})
	on("/note", func(s string) { notes <- s })
	on("/blank", func(ctx *Context) { notes <- fmt.Sprint(len(ctx.Packet().Payload)) })
	on("/fail", func(s string) (*bindSum, error) {
		return &bindSum{1, 1}, Errorf(Conflict, "%s", s).WithDetails(bindSum{3, 4})
	})
}

// mustBind binds a bindStub.
func mustBind(t testing.TB, c Caller) *bindStub {
	t.Helper()
	stub := new(bindStub)
	if err := Bind(c, stub); err != nil {
		t.Fatal(err)
	}
	return stub
}

// seqText writes down what a sequence yields.
func seqText[T any](items iter.Seq2[T, error]) string {
	var all []string
	for item, err := range items {
		if err != nil {
			return fmt.Sprint(all, err)
		}
		all = append(all, fmt.Sprint(item))
	}
	return fmt.Sprint(all)
}

// pairText writes down two results.
func pairText[T any](v T, err error) string {
	if err != nil {
		return fmt.Sprintf("%v, %v", v, err)
	}
	switch v := any(v).(type) {
	case io.Reader:
		b, err := io.ReadAll(v)
		return fmt.Sprintf("%s, %v", b, err)
	case []byte:
		return string(v)
	case **bindSum:
		return (*v).String()
	}
	return fmt.Sprint(v)
}

// bindCall is one call of a stub and what comes of it.
type bindCall struct{ name, got, want string }

// bindCalls calls all functions of a stub.
func bindCalls(ctx context.Context, s *bindStub, notes chan string) []bindCall {
	var read bytes.Buffer
	read.WriteString("bytes read")
	one, ints := bindSum{2, 3}, slices.Values([]int{1, 2, 3})
	noted := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return <-notes
	}
	anySum := func() string {
		v, err := s.AddAny(ctx, one)
		m, _ := v.(map[string]any)
		return fmt.Sprint(m["A"], m["B"], err)
	}
	return []bindCall{
		{"Raw", pairText(s.Raw(ctx, []byte("b"))), "b!"},
		{"Raw nil", pairText(s.Raw(ctx, nil)), "!"},
		{"Text", pairText(s.Text(ctx, "b")), "B"},
		{"None", fmt.Sprint(s.Inner.Deep.None(ctx)), "<nil>"},
		{"Add", pairText(s.Add(ctx, &one)), "5 1"},
		{"Add nil", pairText(s.Add(ctx, nil)), "0 1"},
		{"AddOf", pairText(s.AddOf(ctx, one)), "5 1"},
		{"AddAny", anySum(), "5 1 <nil>"},
		{"AddAny nil", fmt.Sprint(func() error { _, err := s.AddAny(ctx, nil); return err }()), "<nil>"},
		{"AddTwo", pairText(s.AddTwo(ctx, &one)), "5 1"},
		{"AddDrop", fmt.Sprint(s.AddDrop(ctx, one)), "<nil>"},
		{"AddDrop nil", fmt.Sprint(s.AddDrop(ctx, nil)), "<nil>"},
		{"Now", pairText(s.Now(ctx)), "7"},
		{"Copy", pairText(s.Copy(ctx, &read)), "bytes read, <nil>"},
		{"Copy nil", pairText(s.Copy(ctx, nil)), ", <nil>"},
		{"CopyAny", pairText(s.CopyAny(ctx, strings.NewReader("x"))), "x, <nil>"},
		{"CopyAny bytes", pairText(s.CopyAny(ctx, []byte("y"))), "y, <nil>"},
		{"Count", seqText(s.Count(ctx, 3)), "[0 1 2]"},
		{"Count 0", seqText(s.Count(ctx, 0)), "[]"},
		{"Count -1", seqText(s.Count(ctx, -1)), "[] CONFLICT: no such count"},
		{"Sums", seqText(s.Sums(ctx, 4)), "[1 4 0 0 0 4]"}, // a new one each time, also for nil
		{"Texts", seqText(iter.Seq2[string, error](s.Texts(ctx))), "[a ]"},
		{"Total", pairText(s.Total(ctx, ints)), "6"},
		{"TotalP", pairText(s.TotalP(ctx, &one, ints)), "8 3"},
		{"Drop", fmt.Sprint(s.Drop(ctx, slices.Values([]any{1, 2}))), "<nil>"},
		{"Drop what is none", fmt.Sprint(errors.Is(s.Drop(ctx, slices.Values([]any{1, "x"})), BadRequest)), "true"},
		{"Upper", seqText(s.Upper(ctx, slices.Values([]string{"a", "b"}))), "[A B]"},
		{"Scale", seqText(s.Scale(ctx, &one, slices.Values([]*bindSum{{1, 1}, {2, 2}}))), "[2 3 4 6]"},
		{"Note", noted(s.Note(ctx, "hello")), "hello"},
		{"Blank", noted(s.Blank(ctx)), "0"},
		{"Left", fmt.Sprint(s.Left == nil), "true"},
		{"Fail", pairText(s.Fail(ctx, "no")), "<nil>, CONFLICT: no"},
		{"FailAll", seqText(s.FailAll(ctx, ints)), `[] NOT_FOUND: no handler for "/nowhere"`},
		{"Missing", pairText(s.Missing(ctx, ints)), `, NOT_FOUND: no handler for "/nowhere"`},
		{"Odd", fmt.Sprint(s.Odd(ctx)), `NOT_FOUND: no handler for "/user/{id}"`},
	}
}

// TestBind calls functions of all shapes: from a client, and from the server's end of its connection.
func TestBind(t *testing.T) {
	notes := make(chan string, 1)
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		bindHandlers(srv.OnMessage, notes)
		bindHandlers(cli.OnMessage, notes)
	})
	for name, c := range map[string]Caller{"client": p.cli, "its connection": p.cc, "server": p.sc} {
		for _, call := range bindCalls(bounded(t), mustBind(t, c), notes) {
			if call.got != call.want {
				t.Errorf("%s: %s: got %q, want %q", name, call.name, call.got, call.want)
			}
		}
	}
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}

// TestBindErrors: the errors are those of the calls.
func TestBindErrors(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { bindHandlers(srv.OnMessage, nil) })
	s := mustBind(t, p.cli)
	reply, err := s.Fail(bounded(t), "no")
	var e *Error
	var details bindSum
	if reply != nil || !errors.Is(err, Conflict) || Outcome(err) != Answered || !errors.As(err, &e) {
		t.Fatalf("got %v, %v, %v", reply, err, Outcome(err))
	}
	if err := e.DecodeDetails(&details); err != nil || details != (bindSum{3, 4}) {
		t.Errorf("details %v, %v", details, err)
	}
	_, err = s.Missing(bounded(t), slices.Values([]int{1}))
	wantFailed(t, err, NotFound, NotProcessed)
	ended, cancel := context.WithCancel(bounded(t))
	cancel()
	_, err = s.Now(ended)
	_, uploading := s.Total(ended, endless)
	for name, err := range map[string]error{
		"Now": err, "Total": uploading, "Note": s.Note(ended, "x"), "Count": lastError(s.Count(ended, 1)),
		"Upper": lastError(s.Upper(ended, slices.Values([]string{"x"}))),
	} {
		if !errors.Is(err, context.Canceled) || !outcomeIs(err, Canceled, NotSent) {
			t.Errorf("%s: %v, %v", name, err, Outcome(err))
		}
	}
}

// lastError returns the error that a sequence ends with.
func lastError[T any](items iter.Seq2[T, error]) (last error) {
	for _, err := range items {
		last = err
	}
	return last
}

// TestBindConcurrently calls the same functions from many goroutines.
func TestBindConcurrently(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { bindHandlers(srv.OnMessage, nil) })
	s := mustBind(t, p.cli)
	ctx := bounded(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				sum, err := s.Add(ctx, &bindSum{i, j})
				if err != nil || sum.A != i+j {
					t.Errorf("got %v, %v", sum, err)
				}
				if got := seqText(s.Scale(ctx, &bindSum{i, j}, slices.Values([]*bindSum{{1, 1}}))); got != fmt.Sprintf("[%d %d]", i, j) {
					t.Errorf("got %s", got)
				}
			}
		})
	}
	all.Wait()
}

// instantly is a Caller whose calls are answered at once.
type instantly struct{ Caller }

func (instantly) Call(context.Context, string, any, any) error { return nil }

// TestBindAllocs: what docs/handlers.md says of a bound call.
func TestBindAllocs(t *testing.T) {
	ctx, q, s := t.Context(), &bindSum{1, 2}, mustBind(t, instantly{})
	call := memorytest.AllocsPerRun(100, func() { _ = instantly{}.Call(ctx, "/add", q, new(bindSum)) })
	if bound := memorytest.AllocsPerRun(100, func() { _, _ = s.Add(ctx, q) }); bound > 4 || call > 1 {
		t.Errorf("a call allocates %v times, a bound one %v", call, bound)
	}
}

// BenchmarkBind compares bound functions with Client.Call and Receive.
func BenchmarkBind(b *testing.B) {
	srv := quietServer(b, nil)
	bindHandlers(srv.OnMessage, nil)
	cli := connectPipe(b, srv, nil)
	ctx, q, s := context.Background(), &bindSum{1, 2}, mustBind(b, cli)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("call/Call", func() error { return cli.Call(ctx, "/add", q, new(bindSum)) })
	run("call/bound", func() error { _, err := s.Add(ctx, q); return err })
	const items = 1000
	run("1000_items/Receive", func() error { return lastError(Receive[int](ctx, cli, "/count", items)) })
	run("1000_items/bound", func() error { return lastError(s.Count(ctx, items)) })
	alone := mustBind(b, instantly{})
	run("alone/bound", func() error { _, err := alone.Add(ctx, q); return err })
}
