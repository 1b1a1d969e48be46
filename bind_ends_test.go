package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"testing"
)

// TestBindEnds: leaving the loop, a panic in it, and the end of the context end the call.
func TestBindEnds(t *testing.T) {
	type stub struct {
		Wait    func(context.Context) (int, error)                         `fly:"/wait"`
		Numbers func(context.Context) iter.Seq2[int, error]                `fly:"/numbers"`
		Total   func(context.Context, iter.Seq[int]) (int, error)          `fly:"/total"`
		Echo    func(context.Context, iter.Seq[int]) iter.Seq2[int, error] `fly:"/echo"`
	}
	begun, ended := make(chan bool, 1), make(chan error, 1)
	numbers := func(ctx *Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 0; yield(i, nil); i++ {
				continue
			}
			<-ctx.Done()
			ended <- ctx.Err()
		}
	}
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) {
		bindHandlers(srv.OnMessage, nil)
		srv.OnMessage("/wait", func(ctx *Context) error {
			begun <- true
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		})
		srv.OnMessage("/numbers", numbers)
		srv.OnMessage("/echo", func(ctx *Context, _ iter.Seq2[int, error]) iter.Seq2[int, error] { return numbers(ctx) })
	})
	var s stub
	if err := Bind(p.cli, &s); err != nil {
		t.Fatal(err)
	}
	wantCanceled := func(name string) {
		t.Helper()
		if err := await1(t, ended, name); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the handler's context ended with %v", name, err)
		}
	}
	for name, items := range map[string]iter.Seq2[int, error]{"Numbers": s.Numbers(bounded(t)), "Echo": s.Echo(bounded(t), endless)} {
		for range 2 { // each range is a call
			for n, err := range items {
				if err != nil || n == 3 {
					break
				}
			}
			wantCanceled(name)
		}
		wantOwnPanic(t, name, func() {
			for range items {
				panic("mine")
			}
		})
		wantCanceled(name)
	}
	wantOwnPanic(t, "Total", func() { _, _ = s.Total(bounded(t), func(func(int) bool) { panic("mine") }) })
	ctx, cancel := context.WithCancel(bounded(t))
	go func() { <-begun; cancel() }()
	_, err := s.Wait(ctx)
	wantFailed(t, err, Canceled, Unknown)
	wantCanceled("Wait")
	ctx, cancel = context.WithCancel(bounded(t))
	defer cancel()
	for n, failed := range s.Numbers(ctx) {
		if err = failed; n == 3 {
			cancel()
		}
	}
	wantFailed(t, err, Canceled, Unknown)
	wantCanceled("Numbers")
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}

// wantOwnPanic checks that f panics with its own value.
func wantOwnPanic(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("%s: recovered %v", name, r)
		}
	}()
	f()
}

// TestBindNilReader: a nil pointer is no message, also one to what would be a reader.
func TestBindNilReader(t *testing.T) {
	var s struct {
		Send func(context.Context, *bytes.Buffer) ([]byte, error) `fly:"/bytes"`
	}
	p := newPair(t, nil, nil, func(srv *Server, _ *Client) { srv.OnMessage("/bytes", func(b []byte) []byte { return append(b, '!') }) })
	if err := Bind(p.cli, &s); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Send(bounded(t), nil); err != nil || string(got) != "!" {
		t.Errorf("%q, %v", got, err)
	}
}
