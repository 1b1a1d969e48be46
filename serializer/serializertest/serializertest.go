// Package serializertest checks that a serializer.Serializer keeps its contract.
// One line does it, in a test of the package that has the serializer:
//
//	serializertest.Test(t, myformat.Serializer)
//
// Run with -race, it finds data races too.
package serializertest

import (
	"reflect"
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer"
)

// A Sample is a value to send through the serializer.
type Sample struct {
	// Value is encoded. It should have text or bytes in it, or data that is kept
	// after decoding goes unnoticed.
	Value any

	// New returns a pointer to decode into, new at each call. nil means a pointer to a
	// zero value of Value's type.
	New func() any

	// Equal says whether what was decoded, the pointer from New, is the Value.
	// nil means reflect.DeepEqual with what the pointer points to.
	Equal func(decoded any) bool
}

// An Option changes what Test does.
type Option func(*config)

type config struct {
	samples []Sample
}

// WithSamples replaces the samples that Test uses, which are Go structs, maps,
// slices, numbers and texts: for formats that take only certain types.
func WithSamples(samples ...Sample) Option {
	return func(c *config) { c.samples = samples }
}

// TB is what Test needs of a testing.TB.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Test checks s: that values come back as they were; that Encode appends, with
// and without room, and leaves what was there alone; that Decode keeps and
// changes nothing of its data; that bad targets, garbage and cut data are errors
// or values but never panics; that many goroutines can use it; and that its name
// is stable. t is a *testing.T as a rule.
func Test(t TB, s serializer.Serializer, options ...Option) {
	t.Helper()
	c := config{samples: Samples()}
	for _, o := range options {
		o(&c)
	}
	if len(c.samples) == 0 {
		t.Errorf("serializertest: there are no samples")
		return
	}
	k := &kit{t: t, s: s}
	k.name()
	encoded := make([][]byte, len(c.samples))
	for i := range c.samples {
		c.samples[i] = c.samples[i].complete()
		encoded[i] = k.roundTrip(c.samples[i])
	}
	for i, sample := range c.samples {
		if encoded[i] == nil {
			continue // reported already
		}
		k.appends(sample, encoded[i])
		k.keepsNothing(sample, encoded[i])
		k.survivesDamage(sample, encoded[i])
	}
	k.refusesTargets(encoded[0])
	k.encodeErrors()
	k.concurrent(c.samples, encoded)
}

var _ TB = testing.TB(nil)

// complete fills in what the author of a sample left out.
func (s Sample) complete() Sample {
	if s.New == nil {
		typ := reflect.TypeOf(s.Value)
		s.New = func() any { return reflect.New(typ).Interface() }
	}
	if s.Equal == nil {
		want := s.Value
		s.Equal = func(decoded any) bool {
			return reflect.DeepEqual(reflect.ValueOf(decoded).Elem().Interface(), want)
		}
	}
	return s
}

// Samples returns what Test uses unless told otherwise.
func Samples() []Sample {
	type point struct{ X, Y int }
	type everything struct {
		ID      int64
		Small   uint8
		Name    string
		Payload []byte
		Ratio   float64
		On      bool
		Tags    []string
		Counts  map[string]int
		Corner  point
		Next    *point
	}
	full := everything{
		ID: -1 << 40, Small: 255, Name: "Grüße, 世界 \"\\\n", Payload: []byte{0, 1, 0xff, 'x'}, Ratio: 0.1, On: true,
		Tags: []string{"one", "", "three"}, Counts: map[string]int{"a": 1, "b": -70000},
		Corner: point{1, -2}, Next: &point{3, 4},
	}
	return []Sample{
		{Value: full},
		{Value: "a text of some length, so that it has its own memory"},
		{Value: []byte("bytes of some length, so that they have their own memory")},
		{Value: int64(1) << 53},
		{Value: []everything{full, full}},
		{Value: map[string]string{"key": "value", "": "empty"}},
		{Value: true},
	}
}
