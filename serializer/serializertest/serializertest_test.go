package serializertest_test

import (
	"bytes"
	"encoding/gob"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/serializertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a TB that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// fake is a good serializer unless a function is replaced.
type fake struct {
	name   func() string
	encode func(dst []byte, v any) ([]byte, error)
	decode func(data []byte, v any) error
}

var good = serializer.Adapt("good", stdjson.Marshal, stdjson.Unmarshal)

func newFake() *fake { return &fake{name: good.Name, encode: good.Encode, decode: good.Decode} }

func (f *fake) Name() string                             { return f.name() }
func (f *fake) Encode(dst []byte, v any) ([]byte, error) { return f.encode(dst, v) }
func (f *fake) Decode(data []byte, v any) error          { return f.decode(data, v) }

func TestGoodSerializers(t *testing.T) {
	serializertest.Test(t, good)
	serializertest.Test(t, newFake())
	serializertest.Test(t, serializer.Adapt("gob", gobEncode, gobDecode))
	serializertest.Test(t, good, serializertest.WithSamples(serializertest.Sample{
		Value: "x", New: func() any { return new(any) },
		Equal: func(v any) bool { return *v.(*any) == "x" },
	}))
}

func gobEncode(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func gobDecode(data []byte, v any) error { return gob.NewDecoder(bytes.NewReader(data)).Decode(v) }

// broken are serializers that break one promise each, and what the kit says of it.
var broken = []struct {
	broken, want string
	breakIt      func(*fake)
}{
	{"empty name", "Name is empty", func(f *fake) { f.name = func() string { return "" } }},
	{"changing name", "must not change", func(f *fake) {
		var n atomic.Int64
		f.name = func() string { return fmt.Sprint(n.Add(1)) }
	}},
	{"encode fails", "Encode(bool): no", func(f *fake) {
		f.encode = func(dst []byte, _ any) ([]byte, error) { return dst, errors.New("no") }
	}},
	{"doesn't append", "must append", func(f *fake) {
		f.encode = func(_ []byte, v any) ([]byte, error) { return good.Encode(nil, v) }
	}},
	{"ignores room", "though there was room", func(f *fake) {
		f.encode = func(dst []byte, v any) ([]byte, error) { return good.Encode(bytes.Clone(dst), v) }
	}},
	{"fails behind other bytes", "behind other bytes: no", func(f *fake) {
		f.encode = func(dst []byte, v any) ([]byte, error) {
			if len(dst) > 0 {
				return dst, errors.New("no")
			}
			return good.Encode(dst, v)
		}
	}},
	{"leaves half a value behind", "must return dst as it was", func(f *fake) {
		f.encode = func(dst []byte, v any) ([]byte, error) {
			out, err := good.Encode(dst, v)
			if err != nil {
				out = append(out, "half"...)
			}
			return out, err
		}
	}},
	{"encodes anything", "can't be decoded again", func(f *fake) {
		f.encode = func(dst []byte, v any) ([]byte, error) {
			out, err := good.Encode(dst, v)
			if err != nil {
				return append(out, "null"...), nil
			}
			return out, nil
		}
	}},
	{"loses data", "came back as", func(f *fake) { f.decode = func([]byte, any) error { return nil } }},
	{"retains data", "must copy", func(f *fake) { f.decode = retaining }},
	{"changes data", "changed its data", func(f *fake) {
		f.decode = func(data []byte, v any) error {
			err := good.Decode(data, v)
			if len(data) > 0 {
				data[0] ^= 1
			}
			return err
		}
	}},
	{"decodes once", "the second time", func(f *fake) {
		var n atomic.Int64
		f.decode = func(data []byte, v any) error {
			if n.Add(1) > 40 {
				return errors.New("no")
			}
			return good.Decode(data, v)
		}
	}},
	{"panics when encoding", "Encode(func()) panicked", func(f *fake) {
		f.encode = func(dst []byte, v any) ([]byte, error) {
			out, err := good.Encode(dst, v)
			if err != nil {
				panic(err)
			}
			return out, nil
		}
	}},
	{"panics at garbage", "panicked", func(f *fake) {
		f.decode = func(data []byte, v any) error {
			if err := good.Decode(data, v); err != nil {
				panic(err)
			}
			return nil
		}
	}},
	{"accepts any target", "must fail for what is not a pointer", func(f *fake) {
		f.decode = func(data []byte, v any) error {
			if _, ok := v.(int); ok {
				return nil
			}
			return good.Decode(data, v)
		}
	}},
	{"shares a buffer", "with several goroutines", sharing},
}

// TestBrokenSerializers expects the kit to find each of them.
func TestBrokenSerializers(t *testing.T) {
	for _, test := range broken {
		t.Run(test.broken, func(t *testing.T) {
			f, r := newFake(), &recorder{}
			test.breakIt(f)
			serializertest.Test(r, f)
			if all := strings.Join(r.errors, "\n"); !strings.Contains(all, test.want) {
				t.Errorf("the kit says %.2000q, want something with %q", all, test.want)
			}
		})
	}
}

// retaining decodes text without copying it.
func retaining(data []byte, v any) error {
	if p, ok := v.(*string); ok && len(data) > 2 && !bytes.Contains(data, []byte(`\`)) && stdjson.Valid(data) {
		*p = unsafe.String(&data[1], len(data)-2)
		return nil
	}
	return good.Decode(data, v)
}

// sharing acts as if callers shared a buffer: from the second time on that a type
// is encoded into a new slice, the result is another's.
func sharing(f *fake) {
	var (
		mu      sync.Mutex
		callers = map[string]bool{}
	)
	f.encode = func(dst []byte, v any) ([]byte, error) {
		out, err := good.Encode(dst, v)
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprintf("%T", v)
		if dst == nil && err == nil && callers[key] {
			return []byte("0.5"), nil // as if another's result were in the buffer
		}
		callers[key] = callers[key] || dst == nil
		return out, err
	}
}

func TestNoSamples(t *testing.T) {
	r := &recorder{}
	serializertest.Test(r, good, serializertest.WithSamples())
	if len(r.errors) != 1 {
		t.Errorf("without samples: %q", r.errors)
	}
}
