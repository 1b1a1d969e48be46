package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

var errOutOfStock = errors.New("out of stock")

// nilError is an error that can't be asked anything when it is nil.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestErrorsAcross(t *testing.T) {
	codes := []Code{
		Timeout, NotFound, TooLong, HandlerPanic, BadRequest, Unauthenticated, Forbidden, Busy,
		Canceled, Unavailable, Conflict, Internal, Failed, "MY OWN, größer",
	}
	synctest.Test(t, func(t *testing.T) {
		var give error
		srv := quietServer(t, nil)
		srv.OnMessage("/fail", func() error { return give })
		cli := connectPipe(t, srv, nil)
		call := func(err error) *Error {
			give = err
			var e *Error
			if got := cli.Call(context.Background(), "/fail", nil, nil); !errors.As(got, &e) {
				t.Fatalf("%v came as %v", err, got)
			}
			if !e.Remote() || Outcome(e) != Answered {
				t.Errorf("%v: remote %v, %v", e, e.Remote(), Outcome(e))
			}
			return e
		}
		for _, code := range codes {
			for err, message := range map[error]string{
				code:                                  string(code),
				Errorf(code, "text %d", 5):            "text 5",
				fmt.Errorf("wrapped: %w", code):       "wrapped: " + string(code),
				errors.Join(io.EOF, Errorf(code, "")): "EOF\n" + string(code),
			} {
				e := call(err)
				if !errors.Is(e, code) || e.Code != code || e.Message != message {
					t.Errorf("%q came as %q, %q", err, e.Code, e.Message)
				}
				for _, other := range codes {
					if other != code && errors.Is(e, other) {
						t.Errorf("%v is %s", e, other)
					}
				}
			}
		}
		e := call(errors.New("plain text"))
		if e.Code != Failed || e.Message != "plain text" || e.Error() != "ERROR: plain text" {
			t.Errorf("a plain error came as %v", e)
		}
		// a remote end of a context is not the local one
		if e := call(context.DeadlineExceeded); e.Code != Timeout || errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("got %v", e)
		}
		if e := call(fmt.Errorf("w: %w", context.Canceled)); e.Code != Canceled || errors.Is(e, context.Canceled) {
			t.Errorf("got %v", e)
		}
		// what can't stand on the wire is made fit
		if e := call(Code("")); e.Code != Internal {
			t.Errorf("an empty code came as %v", e)
		}
		if e := call(Code("A\x00B")); e.Code != "AB" {
			t.Errorf("a zero byte came as %q", e.Code)
		}
		if e := call(Code(strings.Repeat("é", 4000))); len(e.Code) > maxCodeLen || len(e.Code) < maxCodeLen-4 {
			t.Errorf("a long code came with %d bytes", len(e.Code))
		}
		if e := call(errors.New("")); e.Message == "" {
			t.Error("an empty message")
		}
		// nil pointers in an error are a fault of the handler, not the process's end
		if e := call((*Error)(nil)); e.Code != HandlerPanic {
			t.Errorf("a nil *Error came as %v", e)
		}
		if e := call((*nilError)(nil)); e.Code != HandlerPanic {
			t.Errorf("a nil error came as %v", e)
		}
	})
}

// An application's own errors hold at the other end, in both directions.
func TestErrorTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errGone := errors.New("gone")
		table := map[Code]error{"OUT_OF_STOCK": errOutOfStock, "GONE": errGone}
		fail := func(which string) error {
			if which == "gone" {
				return errGone
			}
			return fmt.Errorf("item %s: %w", which, errOutOfStock)
		}
		srv := quietServer(t, &ServerOpts{Errors: table})
		srv.OnMessage("/buy", fail)
		cli := connectPipe(t, srv, &ClientOpts{Errors: table})
		cli.OnMessage("/buy", fail)
		stranger := connectPipe(t, srv, nil) // has no table
		synctest.Wait()
		for _, c := range []Caller{cli, srv.Conns()[0]} {
			err := c.Call(context.Background(), "/buy", "7", nil)
			wantErr(t, err, "OUT_OF_STOCK", Answered)
			if !errors.Is(err, errOutOfStock) || errors.Is(err, errGone) || !strings.Contains(err.Error(), "item 7: out of stock") {
				t.Errorf("got %v", err)
			}
			if err := c.Call(context.Background(), "/buy", "gone", nil); !errors.Is(err, errGone) {
				t.Errorf("got %v", err)
			}
		}
		err := stranger.Call(context.Background(), "/buy", "7", nil)
		wantErr(t, err, "OUT_OF_STOCK", Answered)
		if errors.Is(err, errOutOfStock) {
			t.Errorf("%v matches without a table", err)
		}
	})
}

type fieldDetails struct {
	Field string
	Max   int
}

func TestErrorDetails(t *testing.T) {
	for _, ser := range []serializer.Serializer{jsonser.Serializer, msgpack.Serializer} {
		t.Run(ser.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, nil)
				srv.OnMessage("/fail", func() error {
					return fmt.Errorf("outer: %w", Errorf(BadRequest, "too large").WithDetails(fieldDetails{"size", 10}))
				})
				srv.OnMessage("/text", func() error { return Errorf(BadRequest, "t").WithDetails("just text") })
				srv.OnMessage("/huge", func() error { return Errorf(BadRequest, "h").WithDetails(make([]byte, maxMetaLen)) })
				srv.OnMessage("/none", func() error { return Errorf(BadRequest, "n") })
				srv.OnMessage("/never", func() error { return Errorf(BadRequest, "f").WithDetails(func() {}) })
				cli := connectPipe(t, srv, &ClientOpts{Serializer: ser})
				var e *Error
				if err := cli.Call(context.Background(), "/fail", nil, nil); !errors.As(err, &e) {
					t.Fatal(err)
				}
				var d fieldDetails
				if err := e.DecodeDetails(&d); err != nil || d != (fieldDetails{"size", 10}) {
					t.Errorf("got %+v, %v", d, err)
				}
				if m, ok := e.Details.(map[string]any); !ok || m["Field"] != "size" {
					t.Errorf("Details is %#v", e.Details)
				}
				var wrong []int
				if err := e.DecodeDetails(&wrong); err == nil {
					t.Error("decoded into another type")
				}
				errors.As(cli.Call(context.Background(), "/text", nil, nil), &e)
				var s string
				if err := e.DecodeDetails(&s); err != nil || s != "just text" || e.Details != "just text" {
					t.Errorf("got %q, %v", s, err)
				}
				for _, path := range []string{"/huge", "/none", "/never"} { // the error comes without them
					e, d := (*Error)(nil), fieldDetails{Max: 1}
					if err := cli.Call(context.Background(), path, nil, nil); !errors.As(err, &e) || e.Code != BadRequest {
						t.Errorf("%s: %v", path, err)
					}
					if err := e.DecodeDetails(&d); err != nil || d.Max != 1 || e.Details != nil {
						t.Errorf("%s: %+v, %v, %v", path, d, e.Details, err)
					}
				}
			})
		})
	}
	t.Run("protobuf", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{Serializers: []serializer.Serializer{protobuf.Serializer}})
			srv.OnMessage("/fail", func() error {
				return Errorf(BadRequest, "p").WithDetails(&wrapperspb.StringValue{Value: "why"})
			})
			cli := connectPipe(t, srv, &ClientOpts{Serializer: protobuf.Serializer})
			var e *Error
			if err := cli.Call(context.Background(), "/fail", nil, nil); !errors.As(err, &e) {
				t.Fatal(err)
			}
			var d wrapperspb.StringValue
			if err := e.DecodeDetails(&d); err != nil || d.Value != "why" {
				t.Errorf("got %q, %v", d.Value, err)
			}
		})
	})
}

// A panic's text and stack stay in the log of its process.
func TestErrorPanicStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{Logger: log})
		srv.OnMessage("/panic", func() { panic("s3cret thing") })
		srv.OnMessage("/error", func() error { panic(errors.New("s3cret error")) })
		srv.OnMessage("/nil", func(m map[string]int) { m["s3cret"] = 1 })
		w, v1 := wireTo(t, srv), wireTo(t, srv)
		w.hello(plainHello)
		for i, path := range []string{"/panic", "/error", "/nil"} {
			for _, end := range []*wireEnd{w, v1} {
				end.request(uint16(i+1), path, "")
				if p := end.wantAnswer(uint16(i+1), HandlerPanic, "panicked"); strings.Contains(string(p.Payload)+string(p.Meta), "s3cret") {
					t.Errorf("the panic's text was sent: %+v", p)
				}
			}
		}
		wantText(t, text.String(), "s3cret thing", "s3cret error", "nil map", "remote_errors_test.go", "level=ERROR")
	})
}

func TestErrorUndecodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		ran := 0
		srv.OnMessage("/details", func(d *fieldDetails) { ran++ })
		cli := connectPipe(t, srv, &ClientOpts{Serializer: jsonser.Serializer})
		err := cli.Call(context.Background(), "/details", map[string]any{"Max": "ten"}, nil)
		wantErr(t, err, BadRequest, Answered)
		wantText(t, err.Error(), "flyrpc.fieldDetails", "json", "Max")
		err = cli.Call(context.Background(), "/details", []byte("raw"), nil)
		wantErr(t, err, BadRequest, Answered)
		wantText(t, err.Error(), "raw bytes", "flyrpc.fieldDetails")
		err = cli.Call(context.Background(), "/nowhere/at/all", nil, nil)
		wantErr(t, err, NotFound, NotProcessed)
		wantText(t, err.Error(), "/nowhere/at/all")
		srv.OnMessage("/answer", func() fieldDetails { return fieldDetails{"x", 1} })
		var n int
		err = cli.Call(context.Background(), "/answer", nil, &n)
		wantErr(t, err, BadRequest, Answered)
		wantText(t, err.Error(), "the answer", "int")
		if ran != 0 {
			t.Errorf("the handler ran %d times", ran)
		}
		srv.OnMessage("/channel", func() any { return make(chan int) })
		err = cli.Call(context.Background(), "/channel", nil, nil)
		wantErr(t, err, Internal, Answered)
		wantText(t, err.Error(), "chan int")
		err = cli.Call(context.Background(), "/details", make(chan int), nil)
		wantErr(t, err, BadRequest, NotSent)
		wantText(t, err.Error(), "chan int")
		var e *Error
		if errors.As(err, &e); e.Remote() {
			t.Error("a local error counts as remote")
		}
	})
}

// Local ends of contexts are what they are; Outcome tells what is known.
func TestErrorLocalContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		cli := connectPipe(t, srv, nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := cli.Call(ctx, "/wait", nil, nil)
		if !errors.Is(err, Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		errWhy := errors.New("user pressed stop")
		ctx, stop := context.WithCancelCause(context.Background())
		time.AfterFunc(time.Second, func() { stop(errWhy) })
		err = cli.Call(ctx, "/wait", nil, nil)
		wantErr(t, err, Canceled, Unknown)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errWhy) {
			t.Errorf("got %v", err)
		}
		if Outcome(nil) != Answered || Outcome(io.EOF) != Unknown || Outcome(fmt.Errorf("w: %w", err)) != Unknown {
			t.Error("outcomes of other errors")
		}
	})
}
