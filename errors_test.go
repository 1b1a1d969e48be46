package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestCodes holds the codes to what stands on the wire.
func TestCodes(t *testing.T) {
	for code, text := range map[Code]string{
		Timeout: "TIMEOUT", NotFound: "NOT_FOUND", TooLong: "BUFF_TOO_LONG", HandlerPanic: "HANDLER_PANIC",
		BadRequest: "BAD_REQUEST", Unauthenticated: "UNAUTHENTICATED", Forbidden: "FORBIDDEN", Busy: "BUSY",
		Canceled: "CANCELED", Unavailable: "UNAVAILABLE", Conflict: "CONFLICT", Internal: "INTERNAL", Failed: "ERROR",
	} {
		if code.Error() != text {
			t.Errorf("%s is %s on the wire", text, code)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{&Error{Code: NotFound, Message: "no user 7"}, "NOT_FOUND: no user 7"},
		{&Error{Code: NotFound}, "NOT_FOUND"},
		{&Error{Code: NotFound, Message: "NOT_FOUND"}, "NOT_FOUND"},
		{Errorf(Busy, "%d of %d", 3, 4), "BUSY: 3 of 4"},
		{Errorf(Busy, "100%%"), "BUSY: 100%"},
		{Errorf(Busy, "read: %w", io.EOF), "BUSY: read: EOF"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestErrorMatches checks what errors.Is and errors.As find in an Error.
func TestErrorMatches(t *testing.T) {
	plain := Errorf(NotFound, "no user")
	wraps := Errorf(Internal, "reading: %w", fs.ErrNotExist)
	several := Errorf(Internal, "%w and %w", io.EOF, Busy)
	for _, c := range []struct {
		err, target error
		want        bool
	}{
		{plain, NotFound, true},
		{plain, Busy, false},
		{plain, Code("NOT_FOUND"), true},
		{plain, errors.New("NOT_FOUND"), false},
		{plain, plain, true},
		{plain, Errorf(NotFound, "no user"), false},
		{fmt.Errorf("call: %w", plain), NotFound, true},
		{errors.Join(io.EOF, plain), NotFound, true},
		{wraps, Internal, true},
		{wraps, fs.ErrNotExist, true},
		{several, io.EOF, true},
		{several, Busy, true},
		{several, NotFound, false},
		{NotFound, NotFound, true},
		{Errorf(Timeout, "late"), context.DeadlineExceeded, false},
		{Errorf(Canceled, "gone"), context.Canceled, false},
		{&Error{Code: Timeout, remote: true}, context.DeadlineExceeded, false},
		{&Error{Code: Canceled, remote: true}, context.Canceled, false},
		{&Error{Code: "MINE", remote: true, cause: fs.ErrExist}, fs.ErrExist, true},
	} {
		if got := errors.Is(c.err, c.target); got != c.want {
			t.Errorf("errors.Is(%v, %v) = %v", c.err, c.target, got)
		}
	}
	if plain.Unwrap() != nil || Errorf(Busy, "%v", io.EOF).Unwrap() != nil {
		t.Error("an Error without %w unwraps")
	}
	if plain.Remote() || !(&Error{remote: true}).Remote() {
		t.Error("Remote is wrong")
	}
}

func TestWithDetails(t *testing.T) {
	a := Errorf(BadRequest, "wrong: %w", io.EOF)
	b := a.WithDetails(map[string]int{"line": 3})
	if a.Details != nil || b.Details.(map[string]int)["line"] != 3 || a == b {
		t.Errorf("details %v and %v", a.Details, b.Details)
	}
	if b.Error() != a.Error() || !errors.Is(b, io.EOF) || !errors.Is(b, BadRequest) {
		t.Errorf("the copy is %v", b)
	}
}

// TestDecodeDetails decodes what came from the other end.
func TestDecodeDetails(t *testing.T) {
	type place struct{ Line int }
	e := &Error{Code: BadRequest, remote: true, details: &body{data: []byte(`{"Line":3}`), ser: stdJSONSerializer()}}
	p := place{Line: 9}
	if err := e.DecodeDetails(&p); err != nil || p.Line != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	var n int
	if err := e.DecodeDetails(&n); !errors.Is(err, BadRequest) {
		t.Errorf("into another type: %v", err)
	}
	p.Line = 9
	if err := Errorf(BadRequest, "x").DecodeDetails(&p); err != nil || p.Line != 9 {
		t.Errorf("without details: %+v, %v", p, err)
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Delivery
		name string
	}{
		{nil, Answered, "Answered"},
		{io.EOF, Unknown, "Unknown"},
		{NotFound, Unknown, "Unknown"},
		{Errorf(NotFound, "x"), Unknown, "Unknown"},
		{(*Error)(nil), Unknown, "Unknown"},
		{localErr(Busy, NotSent, nil, "x"), NotSent, "NotSent"},
		{localErr(Busy, NotProcessed, nil, "x"), NotProcessed, "NotProcessed"},
		{fmt.Errorf("outer: %w", localErr(Busy, Answered, nil, "x")), Answered, "Answered"},
		{localErr(Busy, NotSent, localErr(Busy, Answered, nil, "x"), "y"), NotSent, "NotSent"},
	} {
		if got := Outcome(c.err); got != c.want || got.String() != c.name {
			t.Errorf("Outcome(%#v) = %v, want %v", c.err, got, c.want)
		}
	}
	if s := Delivery(99).String(); s != "Unknown" {
		t.Errorf("Delivery(99) is %q", s)
	}
}

func TestCtxErr(t *testing.T) {
	past, cancelPast := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancelPast()
	pastCause, cancelPastCause := context.WithDeadlineCause(context.Background(), time.Unix(0, 0), io.EOF)
	defer cancelPastCause()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	why, cancelCause := context.WithCancelCause(context.Background())
	cancelCause(fs.ErrClosed)
	both := fmt.Errorf("%w: shutting down", context.Canceled)
	whyBoth, cancelBoth := context.WithCancelCause(context.Background())
	cancelBoth(both)
	for _, c := range []struct {
		ctx  context.Context
		code Code
		is   []error
		not  error
		text string
	}{
		{past, Timeout, []error{context.DeadlineExceeded}, context.Canceled, "TIMEOUT: /x: context deadline exceeded"},
		{pastCause, Timeout, []error{context.DeadlineExceeded, io.EOF}, context.Canceled, "TIMEOUT: /x: context deadline exceeded (EOF)"},
		{canceled, Canceled, []error{context.Canceled}, context.DeadlineExceeded, "CANCELED: /x: context canceled"},
		{why, Canceled, []error{context.Canceled, fs.ErrClosed}, context.DeadlineExceeded, "CANCELED: /x: context canceled (file already closed)"},
		{whyBoth, Canceled, []error{context.Canceled, both}, context.DeadlineExceeded, "CANCELED: /x: context canceled"},
	} {
		err := ctxErr(c.ctx, NotSent, "/x")
		wantErr(t, err, c.code, NotSent)
		for _, target := range c.is {
			if !errors.Is(err, target) {
				t.Errorf("%v is no %v", err, target)
			}
		}
		if errors.Is(err, c.not) || err.Error() != c.text || err.Remote() {
			t.Errorf("%v, want %q, local, and no %v", err, c.text, c.not)
		}
	}
}

// codedFault is an error of the program's own that wraps a code.
type codedFault struct{ code Code }

func (codedFault) Error() string   { return "a fault" }
func (f codedFault) Unwrap() error { return f.code }

// brokenFault is an error that can't say what it is.
type brokenFault struct{ text string }

func (f *brokenFault) Error() string { return f.text }

func TestToWire(t *testing.T) {
	errA, errB := errors.New("a is wrong"), errors.New("b is wrong")
	table := newErrorTable(map[Code]error{"B": errB, "A": errA, "C": errA, "EOF": io.EOF, "LATE": context.DeadlineExceeded})
	details := []int{1}
	for _, c := range []struct {
		name string
		err  error
		want wireError
	}{
		{"an Error", Errorf(BadRequest, "id is %d", 0), wireError{BadRequest, "id is 0", nil}},
		{"an Error with details", Errorf(BadRequest, "x").WithDetails(details), wireError{BadRequest, "x", details}},
		{"an Error without a message", &Error{Code: Busy}, wireError{Busy, "BUSY", nil}},
		{"an Error without a code", &Error{Message: "x"}, wireError{Internal, "x", nil}},
		{"an empty Error", &Error{}, wireError{Internal, "INTERNAL", nil}},
		{"a wrapped Error", fmt.Errorf("outer: %w", Errorf(Busy, "inner").WithDetails(details)), wireError{Busy, "outer: BUSY: inner", details}},
		{"an Error from another server", &Error{Code: Conflict, Message: "theirs", remote: true, delivery: NotProcessed}, wireError{Conflict, "theirs", nil}},
		{"an Error that wraps a table's", Errorf(Busy, "%w", errA), wireError{Busy, "a is wrong", nil}},
		{"a Code", NotFound, wireError{NotFound, "NOT_FOUND", nil}},
		{"a Code of the program's", Code("MINE"), wireError{"MINE", "MINE", nil}},
		{"an empty Code", Code(""), wireError{Internal, "INTERNAL", nil}},
		{"a wrapped Code", fmt.Errorf("user 7: %w", NotFound), wireError{NotFound, "user 7: NOT_FOUND", nil}},
		{"an error that unwraps to a Code", codedFault{Forbidden}, wireError{Forbidden, "a fault", nil}},
		{"an Error before a Code", errors.Join(NotFound, Errorf(Busy, "x")), wireError{Busy, "NOT_FOUND\nBUSY: x", nil}},
		{"a Code before the table", errors.Join(errA, NotFound), wireError{NotFound, "a is wrong\nNOT_FOUND", nil}},
		{"of the table, by the first code", errA, wireError{"A", "a is wrong", nil}},
		{"of the table, wrapped", fmt.Errorf("outer: %w", errB), wireError{"B", "outer: b is wrong", nil}},
		{"two of the table", errors.Join(errB, errA), wireError{"A", "b is wrong\na is wrong", nil}},
		{"a context's deadline in the table", context.DeadlineExceeded, wireError{"LATE", "context deadline exceeded", nil}},
		{"a context's end", fmt.Errorf("x: %w", context.Canceled), wireError{Canceled, "x: context canceled", nil}},
		{"plain", errors.New("no such user"), wireError{Failed, "no such user", nil}},
		{"plain without text", errors.New(""), wireError{Failed, "ERROR", nil}},
		{"text that is no UTF-8", errors.New("caf\xe9"), wireError{Failed, "caf\uFFFD", nil}},
		{"a nil *Error", (*Error)(nil), wireError{HandlerPanic, "", nil}},
		{"an error that panics", (*brokenFault)(nil), wireError{HandlerPanic, "", nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := table.toWire(c.err)
			if got.code != c.want.code || c.want.message != "" && got.message != c.want.message || got.message == "" ||
				fmt.Sprint(got.details) != fmt.Sprint(c.want.details) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	if w := errorTable(nil).toWire(fmt.Errorf("x: %w", context.DeadlineExceeded)); w.code != Timeout || w.message != "x: context deadline exceeded" {
		t.Errorf("a context's deadline: %+v", w)
	}
	if w := errorTable(nil).toWire(errA); w.code != Failed {
		t.Errorf("without a table: %+v", w)
	}
}

// TestCleanCode checks that a code always fits the wire.
func TestCleanCode(t *testing.T) {
	long := strings.Repeat("x", maxCodeLen)
	for _, c := range []struct{ code, want string }{
		{"MINE", "MINE"},
		{"", "INTERNAL"},
		{"\x00", "INTERNAL"},
		{"a\x00b\x00", "ab"},
		{long, long},
		{long + "y", long},
		{long[1:] + "é", long[1:]},
		{long[2:] + "é", long[2:] + "é"},
		{"\x00" + long, long},
		{strings.Repeat("\xff", maxCodeLen+1), "INTERNAL"},
	} {
		got := wireError{code: Code(c.code)}.clean()
		if string(got.code) != c.want || got.message != c.want {
			t.Errorf("%.20q of %d bytes: %.20q of %d, message %.20q", c.code, len(c.code), got.code, len(got.code), got.message)
		}
		if err := checkCode(string(got.code)); err != nil || !utf8.ValidString(string(got.code)) {
			t.Errorf("%.20q can't be sent: %v", got.code, err)
		}
	}
}

// TestErrorTable checks the order of the table, both ways.
func TestErrorTable(t *testing.T) {
	err := errors.New("x")
	m := map[Code]error{}
	for i := range 20 {
		m[Code(fmt.Sprintf("C%02d", i))] = err
	}
	table := newErrorTable(m)
	if code, ok := table.codeOf(fmt.Errorf("y: %w", err)); !ok || code != "C00" {
		t.Errorf("the code is %s", code)
	}
	if _, ok := table.codeOf(io.EOF); ok {
		t.Error("an error that isn't there has a code")
	}
	if table.errorOf("C19") != err || table.errorOf("C20") != nil {
		t.Error("the error of a code is wrong")
	}
	clear(m)
	if table.errorOf("C07") != err {
		t.Error("the table changes with the map")
	}
}
