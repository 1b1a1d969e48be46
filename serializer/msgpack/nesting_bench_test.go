package msgpack

import (
	"testing"
)

// leaf, tree and dynamic are what the benchmarks of Encode take besides a plain struct.
type leaf struct {
	ID   int64
	Name string
}

type tree struct {
	Name     string
	Leaf     leaf
	Children []*tree
}

func newTree(depth int) *tree {
	t := &tree{Name: "node", Leaf: leaf{7, "leaf"}}
	if depth > 1 {
		t.Children = []*tree{newTree(depth - 1), newTree(depth - 1)}
	}
	return t
}

func newDynamic() map[string]any {
	return map[string]any{
		"id": int64(1234567), "name": "benchmark", "ok": true, "score": 1.5,
		"tags": []any{"a", "b", "c"}, "in": map[string]any{"x": 1, "y": "z"}, "leaf": &leaf{1, "x"}, "list": []string{"p", "q"},
	}
}

func BenchmarkEncodeNested(b *testing.B) {
	for _, test := range []struct {
		name string
		v    any
	}{
		{"plain", &sample},
		{"slice", []message{sample, sample}},
		{"list", newList(100)},
		{"tree", newTree(5)},
		{"map", newDynamic()},
		{"standard", map[int]any{1: newDynamic()}},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 16<<10)
			for b.Loop() {
				if _, err := Serializer.Encode(buf, test.v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type list struct {
	N    int
	Next *list
}

func newList(n int) *list {
	var l *list
	for range n {
		l = &list{N: n, Next: l}
	}
	return l
}
