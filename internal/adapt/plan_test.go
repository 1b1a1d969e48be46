package adapt

import (
	"context"
	"io"
	"iter"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// call stands for the root package's Context, frame for its Packet.
type (
	call struct {
		context.Context
		body []byte
		err  error
	}
	frame  struct{ payload []byte }
	stream struct{ items []string }
	item   struct{ ID int }
	named  []byte
	fault  struct{}
	lister interface{ List() []string }
)

func (fault) Error() string { return "fault" }

func testTypes() Types {
	return Types{Context: reflect.TypeFor[*call](), Packet: reflect.TypeFor[*frame](), Stream: reflect.TypeFor[*stream]()}
}

func TestNewKinds(t *testing.T) {
	tests := []struct {
		fn      any
		kinds   []Kind
		message any // a pointer to the message's type
		reply   any // a pointer to the reply's type
		fails   bool
	}{
		{func() {}, nil, nil, nil, false},
		{func() error { return nil }, nil, nil, nil, true},
		{func(*call, context.Context, *frame) {}, []Kind{Context, StdContext, Packet}, nil, nil, false},
		{func(*call, *call) {}, []Kind{Context, Context}, nil, nil, false},
		{func(*item) {}, []Kind{Pointer}, new(item), nil, false},
		{func(**item) {}, []Kind{Pointer}, new(*item), nil, false},
		{func(*[]byte) {}, []Kind{Pointer}, new([]byte), nil, false},
		{func(item) item { return item{} }, []Kind{Value}, new(item), new(item), false},
		{func(any) any { return nil }, []Kind{Value}, new(any), new(any), false},
		{func(map[string]int) []item { return nil }, []Kind{Value}, new(map[string]int), new([]item), false},
		{func(named) (lister, error) { return nil, nil }, []Kind{Value}, new(named), new(lister), true},
		{func([]byte) ([]byte, error) { return nil, nil }, []Kind{Value}, new([]byte), new([]byte), true},
		{func(string, []byte) {}, []Kind{Value, Value}, new(string), nil, false},
		{func(string, item, []byte) {}, []Kind{Text, Value, Bytes}, new(item), nil, false},
		{func([]byte, *item) (*item, error) { return nil, nil }, []Kind{Bytes, Pointer}, new(item), new(*item), true},
		{func() (fault, error) { return fault{}, nil }, nil, nil, new(fault), true},
	}
	for _, tt := range tests {
		p, err := New(reflect.ValueOf(tt.fn), testTypes())
		if err != nil {
			t.Errorf("%T: %v", tt.fn, err)
			continue
		}
		var kinds []Kind
		for _, param := range p.Params {
			kinds = append(kinds, param.Kind)
		}
		if !slices.Equal(kinds, tt.kinds) || p.Message != elem(tt.message) || p.Reply != elem(tt.reply) || p.Fails != tt.fails {
			t.Errorf("%T: kinds %v, message %v, reply %v, fails %v", tt.fn, kinds, p.Message, p.Reply, p.Fails)
		}
	}
}

// elem returns the type that ptr points to, nil for nil.
func elem(ptr any) reflect.Type {
	if ptr == nil {
		return nil
	}
	return reflect.TypeOf(ptr).Elem()
}

func TestNewErrors(t *testing.T) {
	const list = "a parameter is *adapt.call, context.Context, *adapt.frame, *adapt.stream, iter.Seq2[T, error], io.Reader, []byte, string or the message, *T or T"
	tests := []struct {
		fn   any
		want string
	}{
		{nil, "the handler is nil"},
		{(func())(nil), "the handler is nil"},
		{7, "the handler is no function but of type int"},
		{(*item)(nil), "no function but of type *adapt.item"},
		{func(...int) {}, "a handler can't be variadic"},
		{func(*item, string, item) {}, "two messages, parameter 1 (*adapt.item) and parameter 3 (adapt.item): a handler takes at most one"},
		{func(int, int) error { return nil }, "two messages, parameter 1 (int) and parameter 2 (int)"},
		{func(*call, chan int) {}, "parameter 2 is chan int, and a channel can be no message; " + list},
		{func(func()) {}, "parameter 1 is func(), and a function can be no message"},
		{func(iter.Seq2[chan int, error]) {}, "its items are chan int, and a channel can be no message"},
		{func(iter.Seq2[item, error], io.Reader) {}, "parameters 1 and 2 both take what the caller sends"},
		{func(unsafe.Pointer) {}, "and an unsafe pointer can be no message"},
		{func(*chan int) {}, "parameter 1 is *chan int, and a channel can be no message"},
		{func(lister) {}, "and an interface other than any can be no message"},
		{func(error) {}, "parameter 1 is error, and an interface other than any"},
		{func(*context.Context) {}, "parameter 1 is *context.Context, and an interface other than any"},
		{func(call) {}, "parameter 1 is adapt.call, and not *adapt.call"},
		{func(**call) {}, "parameter 1 is **adapt.call, and not *adapt.call"},
		{func(frame) {}, "parameter 1 is adapt.frame, and not *adapt.frame"},
		//lint:ignore ST1008 the wrong order is the point
		{func() (int, error, int) { return 0, nil, 0 }, "3 results: a handler returns nothing"},
		{func() (int, int) { return 0, 0 }, "the second result is int and must be error: " + shapes},
		//lint:ignore ST1008 the wrong order is the point
		{func() (error, int) { return nil, 0 }, "the second result is int and must be error"},
		{func() (error, error) { return nil, nil }, "both results are errors: " + shapes},
		{func() *fault { return nil }, "the result is *adapt.fault, which implements error: declare it as error"},
		{func() net.Error { return nil }, "the result is net.Error, which implements error"},
		{func() chan int { return nil }, "the result is chan int, and a channel can be no message: " + shapes},
		{func() (func(), error) { return nil, nil }, "the result is func(), and a function can be no message"},
		{func() *func() { return nil }, "the result is *func(), and a function can be no message"},
		{func() *lister { return nil }, "the result is *adapt.lister, and an interface other than any"},
		{func() iter.Seq2[func(), error] { return nil }, "its items are func(), and a function can be no message"},
		{func() *call { return nil }, "the result is *adapt.call, which can be no message"},
		{func() *frame { return nil }, "the result is *adapt.frame, which can be no message"},
		{func() frame { return frame{} }, "the result is adapt.frame, and not *adapt.frame"},
	}
	for _, tt := range tests {
		_, err := New(reflect.ValueOf(tt.fn), testTypes())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%T: %v, want %s", tt.fn, err, tt.want)
		}
	}
}
