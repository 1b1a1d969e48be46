package msgpack

import (
	"io"
	"reflect"
	"testing"

	lib "github.com/vmihailenco/msgpack/v5"

	"github.com/go-flyrpc/flyrpc/serializer/internal/plan"
)

type message struct {
	ID      int64
	Name    string
	Payload []byte
}

var sample = message{ID: 1234567, Name: "benchmark", Payload: []byte("0123456789abcdef0123456789")}

func plain(data []byte) (walk, error) {
	w := walk{plan: new(plan.Plan), depth: 128, stack: make([]int64, 128), budget: 1 << 50}
	w.plan.Levels = make([]plan.Level, 1)
	err := w.run(data)
	return w, err
}

// FuzzWalk holds the walk to the library: what the walk lets through, the library can
// skip to the last byte.
func FuzzWalk(f *testing.F) {
	data, _ := Serializer.Encode(nil, []any{sample, 1.5, nil, map[string]any{"x": make([]byte, 300)}, -70000})
	f.Add(data)
	f.Add([]byte{0xc9, 0, 0, 0, 1, 5, 0x80})
	f.Add([]byte{0xd4, 1, 2})
	f.Add([]byte{0xdf, 0, 0, 0, 1, 0xa0, 0x91, 0xc1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		_, err := plain(data)
		r := &reader{data: data}
		d := lib.NewDecoder(r)
		skipErr := d.Skip()
		if err == nil && (skipErr != nil || r.pos != len(data)) {
			t.Fatalf("%x: the walk accepts it; the library reads %d of %d bytes: %v", data, r.pos, len(data), skipErr)
		}
	})
}

func TestWalkAllocatesNothing(t *testing.T) {
	data, _ := Serializer.Encode(nil, sample)
	w := walk{plan: new(plan.Plan), depth: 128, stack: make([]int64, 128), budget: 1 << 50}
	w.plan.Levels = make([]plan.Level, 1)
	if n := testing.AllocsPerRun(100, func() {
		w.cost = 0
		if err := w.run(data); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReader(t *testing.T) {
	r := reader{data: []byte{1}}
	if err := r.UnreadByte(); err == nil {
		t.Error("unread before the start")
	}
	if b, err := r.ReadByte(); b != 1 || err != nil {
		t.Errorf("%d, %v", b, err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Errorf("nothing at the end: %d, %v", n, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func BenchmarkWalk(b *testing.B) {
	data, _ := Serializer.Encode(nil, sample)
	p := Serializer.(*codec).plans.For(reflect.TypeFor[message]())
	stack := make([]int64, 128)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w := walk{plan: p, depth: 128, stack: stack, budget: 1 << 30}
		if err := w.run(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 256)
	for b.Loop() {
		if _, err := Serializer.Encode(buf, &sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	data, _ := Serializer.Encode(nil, &sample)
	b.SetBytes(int64(len(data)))
	var m message
	for b.Loop() {
		if err := Serializer.Decode(data, &m); err != nil {
			b.Fatal(err)
		}
	}
}
