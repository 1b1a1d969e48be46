package serializer

import (
	"fmt"
	"reflect"
)

const (
	// DefaultDepth is how many arrays, maps or messages may stand inside each
	// other unless Limits says otherwise.
	DefaultDepth = 128

	// MaxDepth is the most that Limits.Depth can ask for: the libraries recurse,
	// and a stack that overflows ends the process.
	MaxDepth = 10_000

	// DefaultMemory is how many bytes decoding may take beyond the length of
	// the data unless Limits says otherwise. With the estimate's error it keeps
	// decoding 4 MiB within 4+8 MiB.
	DefaultMemory = 6 << 20
)

// Limits bound what decoding may cost. They are checked before the library that
// decodes takes any memory. The zero value means the defaults.
type Limits struct {
	// Depth is how many arrays, maps or messages may stand inside each other,
	// counting the outermost. 0 or less means DefaultDepth, and more than
	// MaxDepth means MaxDepth.
	Depth int

	// Memory is how many bytes decoding may take beyond the length of the
	// data; 0 or less means DefaultMemory. What is compared is an estimate from
	// the data and the type decoded into, so this is what caps the number of
	// elements. By default that is roughly 900,000 numbers of one byte from
	// MessagePack in a []int64, half as many where the []int64 is a field, and
	// 400,000 in a []any; 270,000 and 90,000 numbers from JSON; 17,000 maps of
	// one entry in an any. Text and bytes cost about their length. Inside a struct
	// the estimate takes the largest element of any array at the same depth, so
	// it can be too careful, never too generous.
	Memory int
}

// WithDefaults returns l with the defaults in place of what is not set.
func (l Limits) WithDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	l.Depth = min(l.Depth, MaxDepth)
	if l.Memory <= 0 {
		l.Memory = DefaultMemory
	}
	return l
}

// Budget is how many bytes decoding data of a length may take: Memory beyond it.
func (l Limits) Budget(length int) uint64 {
	return uint64(l.Memory) + uint64(length)
}

// A LimitError says that Decode refused data for one of the Limits, before
// decoding any of it. It is found with errors.As.
type LimitError struct {
	Serializer string // the name, such as "json"
	Limit      string // the field of Limits, or what else is limited, such as "number length"
	Max        uint64 // the value of the limit, in levels or bytes
}

// Error says what was refused and what to do.
func (e *LimitError) Error() string {
	switch e.Limit {
	case LimitDepth:
		return fmt.Sprintf("%s: nested deeper than %d levels; send flatter data or raise Limits.Depth", e.Serializer, e.Max)
	case LimitMemory:
		return fmt.Sprintf("%s: decoding would take more than %d bytes; send fewer elements, or decode into a smaller type, or raise Limits.Memory",
			e.Serializer, e.Max)
	}
	return fmt.Sprintf("%s: %s is over %d; send less", e.Serializer, e.Limit, e.Max)
}

// The values of LimitError.Limit that stand for fields of Limits.
const (
	LimitDepth  = "Depth"
	LimitMemory = "Memory"
)

// CheckTarget returns an error, beginning with the name of the serializer, unless
// v is something Decode can write to: a pointer that is not nil.
func CheckTarget(name string, v any) error {
	if v == nil {
		return fmt.Errorf("%s: cannot decode into nil; pass a pointer to the value", name)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer {
		return fmt.Errorf("%s: cannot decode into a %T; pass a pointer to it", name, v)
	}
	if rv.IsNil() {
		return fmt.Errorf("%s: cannot decode into a nil %T; pass a pointer to a value that exists", name, v)
	}
	return nil
}
