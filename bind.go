package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
)

// Bind makes a typed client of a struct. stub points to one; each of its func fields with a tag like
//
//	Add func(ctx context.Context, q *Sum) (int, error) `fly:"/calc/add"`
//
// is set to a function that calls the path of the tag through c. A field without the tag is left alone, but if it is a
// struct, embedded or not, its fields are bound too; those of a pointer aren't. The path is sent as it is: {id} in it isn't
// filled in. It has no comma, behind which is the option: in `fly:"/seen,oneway"` it has the function send a
// one-way message, with SendMessage. Its only result is then error, and it takes no items.
//
// A function has these parameters:
//
//   - context.Context, always the first;
//   - the message, at most one, of any type that a message may have: T, *T, []byte, string, io.Reader or another interface.
//     Without it, or if it is a nil pointer or interface, the message is nil;
//   - iter.Seq[In], always the last: the items that it sends, as Upload does.
//
// Its results are
//
//   - error: the reply is dropped;
//   - (Reply, error), where Reply is T, *T, []byte, string or an interface that the serializer can decode. *T is a
//     new T each time, and nil with an error; any other Reply is its zero value then. Without items to send it may be
//     io.Reader or io.ReadCloser too, which the caller reads to the end or closes;
//   - iter.Seq2[Out, error] alone: the items that come, as Receive yields them, or Exchange if it sends some too. Out is *T, which is a
//     new T each time, or what Reply may be but a reader. Each range over the sequence is a call.
//
// Beside items the message can't be an io.Reader, nor can that of a one-way message.
// In all else a function does what Client.Call, SendMessage, Upload, Receive and Exchange do, and its errors are theirs.
// It may be called concurrently.
//
// Signatures are looked at in Bind alone. Its error names the field and says what is wrong with it, and no field is set
// then. A stub that has nothing to set is an error too. Nobody may use the stub while Bind runs.
func Bind(c Caller, stub any) error {
	if c == nil {
		return errors.New("flyrpc: Bind: the Caller is nil")
	}
	v := reflect.ValueOf(stub)
	if v.Kind() != reflect.Pointer || v.Type().Elem().Kind() != reflect.Struct {
		return fmt.Errorf("flyrpc: Bind: the stub is %T and must be a pointer to a struct", stub)
	}
	if v.IsNil() {
		return fmt.Errorf("flyrpc: Bind: the stub is a nil %T", stub)
	}
	b := binder{c: c}
	if err := b.walk(v.Elem(), ""); err != nil {
		return fmt.Errorf("flyrpc: Bind: %s.%w", v.Type().Elem(), err)
	}
	if len(b.fields) == 0 {
		return fmt.Errorf("flyrpc: Bind: no field of %s has a tag like `fly:\"/path\"`", v.Type().Elem())
	}
	for i, field := range b.fields {
		field.Set(b.funcs[i])
	}
	return nil
}

// binder gathers the fields of a stub, and what they are to be set to.
type binder struct {
	c      Caller
	fields []reflect.Value
	funcs  []reflect.Value
}

// walk gathers the fields of a struct, whose name within the stub ends with a dot unless it is the stub. The error
// begins with the name of a field.
func (b *binder) walk(v reflect.Value, within string) error {
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		name := within + f.Name
		tag, tagged := f.Tag.Lookup("fly")
		switch {
		case tagged:
			if err := b.add(field, tag); err != nil {
				return fmt.Errorf("%s, tagged %q: %w", name, tag, err)
			}
		case field.Kind() == reflect.Struct:
			if err := b.walk(field, name+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

// add gathers a field that has a tag.
func (b *binder) add(field reflect.Value, tag string) error {
	if !field.CanSet() {
		return errors.New("it can't be set: it, or a field that it is in, must be exported")
	}
	if field.Kind() != reflect.Func {
		return fmt.Errorf("it is %s and must be a func", field.Type())
	}
	path, option, optional := strings.Cut(tag, ",")
	switch {
	case path == "":
		return errors.New("the path is empty")
	case optional && option != "oneway":
		return fmt.Errorf("the option %q is unknown: there is only oneway", option)
	}
	if err := checkCode(path); err != nil {
		return err
	}
	s := signature{typ: field.Type(), oneWay: optional}
	if fault := s.read(); fault != "" {
		return fmt.Errorf("it is %s: %s", field.Type(), fault)
	}
	f := &boundFunc{signature: s, c: b.c, path: path, success: reflect.Zero(reflect.TypeFor[error]())}
	b.fields, b.funcs = append(b.fields, field), append(b.funcs, reflect.MakeFunc(s.typ, f.body()))
	return nil
}

// boundFunc is what a func field is set to.
type boundFunc struct {
	signature
	c       Caller
	path    string
	success reflect.Value // the error nil
}

// body returns what the function does.
func (f *boundFunc) body() func([]reflect.Value) []reflect.Value {
	switch {
	case f.out != nil:
		return f.receive
	case f.oneWay:
		return f.send
	case f.in != nil:
		return f.upload
	}
	return f.call
}

// call makes a call.
func (f *boundFunc) call(args []reflect.Value) []reflect.Value {
	reply := f.newReply()
	return f.results(reply, f.c.Call(contextOf(args), f.path, f.messageOf(args), reply))
}

// send sends a one-way message.
func (f *boundFunc) send(args []reflect.Value) []reflect.Value {
	return f.results(nil, f.c.SendMessage(contextOf(args), f.path, f.messageOf(args)))
}

// upload makes a call that sends items.
func (f *boundFunc) upload(args []reflect.Value) []reflect.Value {
	reply := f.newReply()
	return f.results(reply, uploadInto(contextOf(args), f.c, f.path, f.messageOf(args), itemsOf(args), reply))
}

// receive makes the sequence of the items that come. A range over it is a call.
func (f *boundFunc) receive(args []reflect.Value) []reflect.Value {
	ctx, message := contextOf(args), f.messageOf(args)
	next := func() any { return newOf(f.out) }
	return []reflect.Value{reflect.MakeFunc(f.typ.Out(0), func(loop []reflect.Value) []reflect.Value {
		yield := func(item any, err error) bool {
			return loop[0].Call([]reflect.Value{valueOf(f.out, item), f.failure(err)})[0].Bool()
		}
		if f.in != nil {
			exchange(ctx, f.c, f.path, message, itemsOf(args), next, yield)
		} else {
			r := receiver{ctx: ctx, c: f.c, path: f.path, message: message, next: next, yield: yield}
			r.run()
		}
		return nil
	})}
}

// contextOf returns the first argument.
func contextOf(args []reflect.Value) context.Context {
	ctx, _ := args[0].Interface().(context.Context)
	return ctx
}

// messageOf returns the message among the arguments.
func (f *boundFunc) messageOf(args []reflect.Value) any {
	if !f.message || args[1].Kind() == reflect.Pointer && args[1].IsNil() { // which may be a reader's, that nobody can read
		return nil
	}
	return args[1].Interface()
}

// itemsOf returns the sequence that is the last argument.
func itemsOf(args []reflect.Value) iter.Seq[any] {
	return func(yield func(any) bool) {
		for item := range args[len(args)-1].Seq() {
			if !yield(item.Interface()) {
				return
			}
		}
	}
}

// newReply returns a pointer to decode a reply into, or nil if there is none.
func (f *boundFunc) newReply() any {
	if f.reply == nil {
		return nil
	}
	return newOf(f.reply)
}

// results returns the results of a function that has no sequence.
func (f *boundFunc) results(reply any, err error) []reflect.Value {
	if f.reply == nil {
		return []reflect.Value{f.failure(err)}
	}
	if err != nil {
		reply = nil
	}
	return []reflect.Value{valueOf(f.reply, reply), f.failure(err)}
}

// failure returns an error as a result.
func (f *boundFunc) failure(err error) reflect.Value {
	if err == nil {
		return f.success
	}
	return reflect.ValueOf(err)
}

// newOf returns a pointer to decode a value of type t into: if that is a pointer, what it is to point to.
func newOf(t reflect.Type) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return reflect.New(t).Interface()
}

// valueOf returns the value of type t that was decoded into what newOf has returned; the zero value for nil.
func valueOf(t reflect.Type, p any) reflect.Value {
	switch {
	case p == nil:
		return reflect.Zero(t)
	case t.Kind() == reflect.Pointer:
		return reflect.ValueOf(p)
	}
	return reflect.ValueOf(p).Elem()
}

// signature says what the arguments and results of a bound function are.
type signature struct {
	typ     reflect.Type
	oneWay  bool
	message bool         // there is one, the second argument
	in, out reflect.Type // items that are sent and come, or nil
	reply   reflect.Type // or nil
}

// read looks at the type. It returns what is wrong with it and what it may be, or "".
func (s *signature) read() string {
	if fault := s.params(); fault != "" {
		return fault + ": it takes context.Context, then at most one message, and iter.Seq[In] last if it sends items"
	}
	if fault := s.results(); fault != "" {
		return fault + ": it returns error, (Reply, error), or iter.Seq2[Out, error] alone"
	}
	return s.conflict()
}

// params reads the parameters.
func (s *signature) params() string {
	t, n := s.typ, s.typ.NumIn()
	switch {
	case t.IsVariadic():
		return "it is variadic"
	case n == 0 || t.In(0) != reflect.TypeFor[context.Context]():
		return "the first parameter isn't context.Context"
	}
	if s.in = sequence(t.In(n-1), false); s.in != nil {
		n--
		if fault := messageFault(s.in); fault != "" {
			return fmt.Sprintf("it sends items of %s, and %s", s.in, fault)
		}
	}
	for i := 1; i < n; i++ {
		if fault := messageFault(t.In(i)); fault != "" {
			return fmt.Sprintf("parameter %d is %s, and %s", i+1, t.In(i), fault)
		}
	}
	if n > 2 {
		return fmt.Sprintf("it takes %d messages", n-1)
	}
	s.message = n == 2
	return ""
}

// results reads the results.
func (s *signature) results() string {
	t, failure := s.typ, reflect.TypeFor[error]()
	switch n := t.NumOut(); {
	case n == 1 && t.Out(0) == failure:
		return ""
	case n == 1:
		if s.out = sequence(t.Out(0), true); s.out == nil {
			return fmt.Sprintf("the result is %s", t.Out(0))
		}
		if fault := messageFault(s.out); fault != "" {
			return fmt.Sprintf("the items are %s, and %s", s.out, fault)
		}
		return ""
	case n != 2:
		return fmt.Sprintf("it has %d results", n)
	case t.Out(1) != failure:
		return fmt.Sprintf("the second result is %s", t.Out(1))
	case t.Out(0) == failure:
		return "both results are errors"
	}
	s.reply = t.Out(0)
	if fault := messageFault(s.reply); fault != "" {
		return fmt.Sprintf("the first result is %s, and %s", s.reply, fault)
	}
	return ""
}

// conflict says what doesn't go together.
func (s *signature) conflict() string {
	items := s.in != nil || s.out != nil
	switch sends := s.message && s.typ.In(1).Implements(reflect.TypeFor[io.Reader]()); {
	case s.oneWay && (items || s.reply != nil):
		return "a one-way message isn't answered and has no items: with oneway it takes context.Context and at most one message, and returns error"
	case s.oneWay && sends:
		return "a one-way message can't be an io.Reader: leave oneway out"
	case items && sends:
		return "the message can't be an io.Reader beside items: take the items alone, or send []byte items"
	case s.out != nil && isReader(s.out):
		return "an item that comes can't be an io.Reader: receive []byte, or return (io.ReadCloser, error)"
	case s.reply == nil || !isReader(s.reply):
		return ""
	case s.in != nil:
		return "the reply to items can't be an io.Reader: return iter.Seq2[[]byte, error]"
	case s.reply != reflect.TypeFor[io.Reader]() && s.reply != reflect.TypeFor[io.ReadCloser]():
		return fmt.Sprintf("a reply can't be %s: a reader is io.Reader or io.ReadCloser", s.reply)
	}
	return ""
}

// isReader reports whether t is an interface of readers, or a pointer to one.
func isReader(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Interface && t.Implements(reflect.TypeFor[io.Reader]())
}

// messageFault says why a value of type t can be no message, or "".
func messageFault(t reflect.Type) string {
	if t == reflect.TypeFor[context.Context]() || t == reflect.TypeFor[*Context]() {
		return "a context can be no message"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Chan:
		return "a channel can be no message"
	case reflect.Func:
		return "a function can be no message"
	case reflect.UnsafePointer:
		return "an unsafe pointer can be no message"
	}
	return ""
}

// sequence returns T if t is iter.Seq[T], or iter.Seq2[T, error] if it may fail; or nil.
func sequence(t reflect.Type, fails bool) reflect.Type {
	if t.Kind() != reflect.Func || t.IsVariadic() || t.NumIn() != 1 || t.NumOut() != 0 {
		return nil
	}
	yield, n := t.In(0), 1
	if fails {
		n = 2
	}
	if yield.Kind() != reflect.Func || yield.IsVariadic() || yield.NumIn() != n || yield.NumOut() != 1 ||
		yield.Out(0) != reflect.TypeFor[bool]() || fails && yield.In(1) != reflect.TypeFor[error]() {
		return nil
	}
	return yield.In(0)
}
