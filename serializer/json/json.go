// Package json is FlyRPC's JSON serializer: what encoding/json does, faster for
// plain types. It stands on github.com/json-iterator/go in its standard-compatible form.
//
// Struct tags, names and conversions are those of encoding/json; like there, the
// keys of objects match fields without regard to case. Numbers in an any are
// float64. Text that is not UTF-8 is decoded with U+FFFD in place of the bad bytes.
//
// What json-iterator does otherwise than encoding/json is left to encoding/json:
// types with MarshalJSON, UnmarshalJSON, MarshalText or UnmarshalText other than
// time.Time; json.RawMessage and json.Number; arrays; maps whose keys are not
// strings; embedded structs; the tag options "string" and "omitzero"; and data
// with bad UTF-8, escaped surrogates, more than 64 KiB of text with escapes, or numbers of 19
// digits or with exponents of two. The differences that remain:
//
//   - Decoding is limited, see [New].
//   - The texts of errors differ, and after an error more or less of the value is filled in.
//   - null for a string empties it, where encoding/json leaves what was there.
//   - Only ASCII letters of keys match fields without regard to case.
//   - What a MarshalJSON returns is neither checked nor compacted where it is
//     only found in an interface.
package json

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/internal/errtext"
	"github.com/go-flyrpc/flyrpc/serializer/internal/nesting"
	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

const name = "json"

// MaxNumber is how many bytes a number may have: reading a number takes
// a time that grows faster than its length.
const MaxNumber = 1024

// Serializer is JSON with the default limits. Its name is "json".
var Serializer = New(serializer.Limits{})

// New returns a JSON serializer with limits of its own; the zero Limits are the defaults.
//
// Decode looks through the data before decoding it and refuses what is not
// exactly one valid JSON value, is nested deeper than Limits.Depth, has a number
// longer than MaxNumber, or would take more memory than Limits.Memory beyond the length of
// the data. That counts the elements of arrays at three times their size in Go (slices
// grow as they are read), the tables of maps and the boxes of values in
// interfaces. A type that decodes itself is counted like an any; what it allocates beyond that is its own affair.
func New(limits serializer.Limits) serializer.Serializer {
	c := &codec{
		limits: limits.WithDefaults(),
		plans: plan.NewCache(plan.Model{
			Slice: 3, Any: 64, MapGrowth: 4, MapValues: true, Classify: classify, Mark: needsStandard,
		}),
		nesting: nesting.New(nesting.Rules{Depth: serializer.MaxDepth, Custom: encodesItself, Field: encodedField}),
	}
	c.scans.New = func() any { return &scan{stack: make([]container, c.limits.Depth)} }
	return c
}

type codec struct {
	limits  serializer.Limits
	plans   *plan.Cache
	nesting *nesting.Checker
	types   sync.Map  // reflect.Type to *typeInfo
	scans   sync.Pool // of *scan
}

// typeInfo is what Encode knows about a type.
type typeInfo struct {
	standard bool          // left to encoding/json
	nesting  *nesting.Type // nil if values can neither contain themselves nor be nested to any depth
}

func (c *codec) typeInfo(t reflect.Type) *typeInfo {
	if i, ok := c.types.Load(t); ok {
		return i.(*typeInfo)
	}
	i, _ := c.types.LoadOrStore(t, &typeInfo{standard: c.plans.For(t).Marked, nesting: c.nesting.For(t)})
	return i.(*typeInfo)
}

func (c *codec) Name() string { return name }

// Encode appends v to dst, in the form json.Marshal gives: compact, map keys
// sorted, HTML escaped. A nil v, and a nil pointer, is null. A v that contains
// itself, or is nested deeper than serializer.MaxDepth, is an error.
func (c *codec) Encode(dst []byte, v any) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("json: encoding %T panicked: %v", v, r)
		}
	}()
	standard, err := c.check(v)
	switch {
	case err != nil:
	case standard:
		out, err = appendStandard(dst, v)
	default:
		out, err = appendFast(dst, v)
	}
	if err != nil {
		return dst, fmt.Errorf("json: cannot encode %T: %w", v, err)
	}
	return out, nil
}

// check returns an error if encoding v would overflow the stack, and says whether
// encoding/json must encode it. That one finds values that contain themselves on its
// own, and knows better: it has fields that hide others, and such that are left out.
func (c *codec) check(v any) (standard bool, err error) {
	if v == nil {
		return false, nil
	}
	info := c.typeInfo(reflect.TypeOf(v))
	if info.nesting == nil {
		return info.standard, nil
	}
	err = info.nesting.Check(reflect.ValueOf(v))
	if err == nil {
		return info.standard, nil
	}
	switch nesting.ProblemOf(err) {
	case nesting.Endless: // for json-iterator alone
		return true, nil
	case nesting.Cycle:
		if info.standard {
			return true, nil
		}
	}
	return info.standard, err
}

func (c *codec) Decode(data []byte, v any) (err error) {
	if err := serializer.CheckTarget(name, v); err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("json: %w", serializer.ErrEmpty)
	}
	p := c.plans.For(decodedType(v))
	odd, err := c.scan(data, p)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("json: decoding into %T panicked: %v", v, r)
		}
	}()
	if p.Marked || odd {
		err = decodeStandard(data, v)
	} else {
		err = decodeFast(data, v)
	}
	if err != nil {
		return fmt.Errorf("json: cannot decode into %T: %w", v, errtext.Brief(err))
	}
	return nil
}

// scan says whether data may be decoded, and whether encoding/json must do it.
func (c *codec) scan(data []byte, p *plan.Plan) (odd bool, err error) {
	s := c.scans.Get().(*scan)
	defer c.scans.Put(s)
	*s = scan{data: data, plan: p, depth: c.limits.Depth, budget: c.limits.Budget(len(data)), stack: s.stack}
	err = s.run()
	s.data = nil
	return s.odd(), err
}

// decodedType is the type that decides what decoding into v costs: an interface
// that holds a pointer is decoded into what it points to.
func decodedType(v any) reflect.Type {
	target := reflect.ValueOf(v).Elem()
	if target.Kind() == reflect.Interface && target.Elem().Kind() == reflect.Pointer {
		return target.Elem().Type().Elem()
	}
	return target.Type()
}
