// Package msgpack is FlyRPC's MessagePack serializer, the one FlyRPC peers use
// unless they choose another. It stands on github.com/vmihailenco/msgpack/v5.
//
// Struct fields are named by their msgpack tag, else their json tag, else
// their name; omitempty, inline and "-" work in both tags, and case counts.
// Integers take the fewest bytes; floating-point numbers keep their type. A
// time.Time is MessagePack's timestamp. Types can encode themselves with
// MarshalMsgpack and UnmarshalMsgpack, or EncodeMsgpack and DecodeMsgpack, or
// the interfaces of package encoding.
//
// Decoded into an any, numbers have the type of the data (int8, uint16, float64
// and so on), maps are map[string]any and need keys of text, and binary data is
// []byte. Coders for types and extensions must be registered with the library before the first
// value is coded. An integer that doesn't fit its field loses its upper bits, as the library does it.
//
// A struct that embeds a pointer to a struct costs one goroutine for each such
// pointer type for the life of the process once it is decoded into: the library
// keeps values ready there. Embed the struct itself, or name the field, to avoid it.
//
// Data is walked through once before it is decoded, see [New].
package msgpack

import (
	"encoding"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/internal/errtext"
	"github.com/go-flyrpc/flyrpc/serializer/internal/nesting"
	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

const name = "msgpack"

// maxKept is the largest buffer that is kept for another call.
const maxKept = 64 << 10

// recorded is how often the data is allocated when the library records it for a
// type that decodes itself: it grows a buffer as it goes.
const recorded = 4

// presizeFrom is the size in bytes from which an outermost slice is made in one piece.
const presizeFrom = 4 << 10

// Serializer is MessagePack with the default limits. Its name is "msgpack".
var Serializer = New(serializer.Limits{})

// New returns a MessagePack serializer with limits of its own; the zero Limits
// are the defaults.
//
// Decode walks through the data before decoding it and refuses what is nested
// deeper than Limits.Depth, declares more elements than bytes follow, has lengths
// beyond the end, byte 0xc1, or bytes after the value, and what would take more
// memory than Limits.Memory beyond the length of the data. That counts the
// elements of arrays at their size in Go (twice in a slice that is not the outermost: the
// library makes a second one on the way), the tables of maps, boxes of values in
// interfaces, and once more the longest text above 64 KiB. A type that
// decodes itself is counted like an any, plus four times the length of the data; what it allocates beyond that is its own affair.
//
// Encode looks through a value that could contain itself before encoding it. It does so too
// where the program has registered coders of its own with the library.
//
// The payload of an extension is opaque to the walk: a decoder registered with the library for
// one must read it whole, or decoding fails.
func New(limits serializer.Limits) serializer.Serializer {
	c := &codec{limits: limits.WithDefaults()}
	c.plans = plan.NewCache(plan.Model{Slice: 2, Any: 16, MapGrowth: 3, MapValues: true, Classify: classify})
	c.nesting = nesting.New(nesting.Rules{Depth: serializer.MaxDepth, Custom: isOpaque, Field: encodedField, Keys: true})
	c.encoders.New = func() any { return newEncoder() }
	c.decoders.New = func() any { return newDecoder(c.limits.Depth) }
	return c
}

type codec struct {
	limits   serializer.Limits
	plans    *plan.Cache
	nesting  *nesting.Checker
	types    sync.Map  // reflect.Type to *typeInfo
	encoders sync.Pool // of *encoder
	decoders sync.Pool // of *decoder
}

type encoder struct {
	lib  *msgpack.Encoder
	out  appender
	last typed
}

func newEncoder() *encoder { return &encoder{lib: msgpack.NewEncoder(nil)} }

type decoder struct {
	lib   *msgpack.Decoder
	in    reader
	stack []int64
	last  typed
}

// typed is what an encoder or decoder was used for last, which is often what it is used
// for next.
type typed struct {
	t    reflect.Type
	info *typeInfo
}

func newDecoder(depth int) *decoder {
	return &decoder{lib: msgpack.NewDecoder(nil), stack: make([]int64, depth)}
}

func (c *codec) Name() string { return name }

// Encode appends v to dst. A nil v, and a nil pointer, is MessagePack's nil. A v that
// contains itself, or is nested deeper than serializer.MaxDepth, is an error, and so is
// one of a type that embeds itself.
func (c *codec) Encode(dst []byte, v any) (out []byte, err error) {
	e := c.encoders.Get().(*encoder)
	e.out.buf = dst
	info, rv := c.structOf(v, &e.last)
	switch {
	case info == nil:
		err = c.nesting.Check(v)
	case info.plain == nil:
		err = info.nesting.Check(rv)
	}
	switch {
	case err != nil:
	case info != nil && info.plain != nil:
		err = info.plain.encode(e, rv)
	default:
		err = e.encode(v)
	}
	out, e.out.buf = e.out.buf, nil
	c.encoders.Put(e)
	if err != nil {
		return dst, fmt.Errorf("msgpack: cannot encode %T: %w", v, err)
	}
	return out, nil
}

// structOf returns what is known about v if it is a struct, or a pointer to one.
func (c *codec) structOf(v any, last *typed) (*typeInfo, reflect.Value) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	if rv.Kind() != reflect.Struct {
		return nil, rv
	}
	return c.typeInfo(rv.Type(), last), rv
}

// encode has the library encode v.
func (e *encoder) encode(v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	// Every time, because a type's own EncodeMsgpack can change all of it.
	e.lib.Reset(&e.out)
	e.lib.UseCompactInts(true)
	e.lib.SetCustomStructTag("json")
	return e.lib.Encode(v)
}

// typeInfo is what the codec knows about a type.
type typeInfo struct {
	plan    *plan.Plan
	plain   *plainStruct  // nil if the library has to code it
	nesting *nesting.Type // nil if values can neither contain themselves nor be nested to any depth
}

// typeInfo returns what is known about a type.
func (c *codec) typeInfo(t reflect.Type, last *typed) *typeInfo {
	if last.t == t {
		return last.info
	}
	i, ok := c.types.Load(t)
	if !ok {
		i, _ = c.types.LoadOrStore(t, &typeInfo{plan: c.plans.For(t), plain: newPlainStruct(t), nesting: c.nesting.For(t)})
	}
	*last = typed{t, i.(*typeInfo)}
	return last.info
}

func (c *codec) Decode(data []byte, v any) error {
	if err := serializer.CheckTarget(name, v); err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("msgpack: %w", serializer.ErrEmpty)
	}
	target := reflect.ValueOf(v).Elem()
	d := c.decoders.Get().(*decoder)
	info := c.typeInfo(decodedType(target), &d.last)
	w := walk{
		plan: info.plan, stack: d.stack,
		depth: c.limits.Depth, budget: c.limits.Budget(len(data)),
	}
	if w.plan.Opaque {
		w.cost = recorded * uint64(len(data))
	}
	presized := w.plan.Elem > 0 && target.Kind() == reflect.Slice && target.Cap() == 0
	if presized {
		w.credit = w.plan.Elem
	}
	if err := w.run(data); err != nil {
		c.decoders.Put(d)
		return err
	}
	if presized {
		presize(target, data)
	}
	if s := info.plain; s != nil && target.Kind() == reflect.Struct && !w.ext && s.takes(data) {
		if err := d.plain(data, v, target, s); err != nil {
			return err
		}
	} else if err := d.decode(data, v, target, w.ext); err != nil {
		return err // and d is dropped: the library may have stopped halfway
	}
	if w.longest <= maxKept && !w.plan.Opaque {
		c.decoders.Put(d)
	}
	return nil
}

// decodedType is the type that decides what decoding costs: an interface that
// holds a pointer is decoded into what it points to.
func decodedType(target reflect.Value) reflect.Type {
	if target.Kind() == reflect.Interface && target.Elem().Kind() == reflect.Pointer {
		return target.Elem().Type().Elem()
	}
	return target.Type()
}

// decode lets the library decode data that has been walked through.
func (d *decoder) decode(data []byte, v any, target reflect.Value, guard bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("msgpack: decoding into %T panicked: %v", v, r)
		}
	}()
	if target.Kind() == reflect.Interface && target.Elem().Kind() != reflect.Pointer {
		target.SetZero() // or the library would try to decode into what is in there
	}
	d.in.reset(data, guard)
	d.lib.Reset(&d.in)
	d.lib.SetCustomStructTag("json")
	d.lib.DisableAllocLimit(true) // lengths have been checked
	err = d.lib.Decode(v)
	d.in.reset(nil, false)
	if err != nil {
		return fmt.Errorf("msgpack: cannot decode into %T: %w", v, errtext.Brief(err))
	}
	return nil
}

// plain decodes a map, which has been walked through, into a plain struct.
func (d *decoder) plain(data []byte, v any, target reflect.Value, s *plainStruct) error {
	d.in.reset(data, false)
	d.lib.Reset(&d.in)
	d.lib.DisableAllocLimit(true)
	err := s.decode(d, target)
	d.in.reset(nil, false)
	if err != nil {
		return fmt.Errorf("msgpack: cannot decode into %T: %w", v, errtext.Brief(err))
	}
	return nil
}

// presize makes the outermost slice in one piece, where the library would make two.
func presize(target reflect.Value, data []byte) {
	c := typedCodes[data[0]]
	if c.op != opArray {
		return
	}
	n, _, _ := length(data, 1, int(c.size))
	if n*uint64(target.Type().Elem().Size()) >= presizeFrom {
		target.Set(reflect.MakeSlice(target.Type(), int(n), int(n)))
	}
}

// classify tells the types apart that reflection alone would misjudge.
func classify(t reflect.Type) plan.Kind {
	if t == reflect.TypeFor[time.Time]() {
		return plan.Leaf
	}
	if t == reflect.TypeFor[msgpack.RawMessage]() {
		return plan.Raw
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !decodesItself(t) {
		return plan.Leaf
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return plan.Plain
	}
	if decodesItself(t) {
		return plan.Opaque
	}
	p := reflect.PointerTo(t)
	if p.Implements(reflect.TypeFor[encoding.BinaryUnmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return plan.Leaf
	}
	return plan.Plain
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[msgpack.CustomDecoder]()) || p.Implements(reflect.TypeFor[msgpack.Unmarshaler]())
}
