package json_test

import (
	stdjson "encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
)

type (
	// vertex can refer to others in every way that json-iterator encodes, and lattice in
	// some that encoding/json does.
	vertex struct {
		N int
		P *vertex            `json:",omitempty"`
		S []*vertex          `json:",omitempty"`
		M map[string]*vertex `json:",omitempty"`
		A any
		L []any
		D map[string]any
	}
	lattice struct {
		edges
		A [1]*lattice
		K map[int]any
		V any
	}
	edges struct{ E *lattice }

	// parent has a field to itself that is not encoded by one of several ways.
	parent struct {
		Self *parent `json:"-"`
		self *parent
		Own  *unlooped
		Ref  []refUnlooped
		Text textUnlooped
		When time.Time
		Sort *hidden
		Zero *absent
	}
	unlooped     struct{ In any }
	refUnlooped  struct{ In any }
	textUnlooped struct{ In any }
	hidden       struct {
		hidden1
		hidden2
	}
	hidden1 struct{ In *hidden }
	hidden2 struct{ In *hidden }
	absent  struct {
		In *never `json:",omitzero"`
	}
	never     struct{ In *absent }
	selfMade  struct{ *selfMade2 }
	selfMade2 struct {
		*selfMade
		X int
	}
	refLoop struct {
		In map[string]refLoop
	}
)

func (unlooped) MarshalJSON() ([]byte, error)     { return []byte("1"), nil }
func (*refUnlooped) MarshalJSON() ([]byte, error) { return []byte("2"), nil }
func (textUnlooped) MarshalText() ([]byte, error) {
	return []byte("3"), nil
}
func (*never) IsZero() bool                   { return true }
func (*refLoop) MarshalJSON() ([]byte, error) { return []byte("4"), nil }

func cycles() map[string]any {
	l := &list{}
	l.Next = &list{Next: l}
	m := map[string]any{}
	m["x"] = m
	s := []any{1, nil}
	s[1] = s
	type named map[string]named
	n := named{}
	n["n"] = n
	type loop *loop
	var p loop
	p = &p
	var x any
	x = &x
	lat := &lattice{}
	lat.A[0] = lat
	in := &lattice{}
	in.E = in
	keys := map[int]any{}
	keys[1] = keys
	ref := refLoop{In: map[string]refLoop{}}
	ref.In["x"] = ref
	return map[string]any{
		"pointer": l, "by value": *l, "map": m, "slice": s, "named map": n, "pointer to itself": p, "interface": x,
		"array": lat, "embedded": in, "keys": keys, "array in an interface": []any{[1]any{m}}, "embedded in an interface": map[string]any{"in": in},
		"no address": ref, "no address in an interface": []any{ref},
	}
}

func TestCycles(t *testing.T) {
	for name, v := range cycles() {
		if _, err := stdjson.Marshal(v); err == nil {
			t.Fatalf("%s: encoding/json encodes it", name)
		}
		out, err := json.Serializer.Encode([]byte("before"), v)
		if err == nil || string(out) != "before" || !strings.HasPrefix(err.Error(), fmt.Sprintf("json: cannot encode %T: ", v)) ||
			!strings.Contains(err.Error(), "contains itself") && !strings.Contains(err.Error(), "encountered a cycle") {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// TestNoCycles is about what leads to itself only in ways that are not encoded.
func TestNoCycles(t *testing.T) {
	p := &parent{Own: &unlooped{}, Ref: []refUnlooped{{}}, When: time.Unix(0, 0).UTC(), Sort: &hidden{}, Zero: &absent{}}
	p.Self, p.self, p.Own.In, p.Ref[0].In, p.Text.In = p, p, p, p, p
	p.Sort.hidden1.In, p.Sort.hidden2.In, p.Zero.In = p.Sort, p.Sort, &never{p.Zero}
	made := selfMade{&selfMade2{X: 1}}
	circle := selfMade{&selfMade2{X: 1}}
	circle.selfMade = &circle
	shared := []any{1}
	for range 10 {
		shared = []any{shared, shared}
	}
	for _, v := range []any{p, made, circle, []any{made}, map[string]any{"x": &circle, "y": 1}, shared, &refLoop{}, []any{p.Own, p.self.Ref}} {
		want, err := stdjson.Marshal(v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		if got, err := json.Serializer.Encode(nil, v); err != nil || string(got) != string(want) {
			t.Errorf("%T: %s, %v; encoding/json gives %s", v, got, err, want)
		}
	}
}

func TestDeep(t *testing.T) {
	s := json.New(serializer.Limits{Depth: serializer.MaxDepth})
	var slices, maps, odd any
	for range serializer.MaxDepth {
		slices, maps, odd = []any{slices}, map[string]any{"": maps}, map[int]any{1: odd}
	}
	for _, v := range []any{newList(serializer.MaxDepth), slices, maps, odd} {
		data, err := s.Encode(nil, v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		if err := s.Decode(data, new(any)); err != nil {
			t.Errorf("%T comes back as: %v", v, err)
		}
		for _, v := range []any{[]any{v}, map[int]any{1: v}} {
			if _, err := s.Encode(nil, v); err == nil || !strings.Contains(err.Error(), "nested deeper than 10000 levels") {
				t.Errorf("%T with one level more: %v", v, err)
			}
		}
	}
	if _, err := s.Encode(nil, newList(1_000_000)); err == nil {
		t.Error("a list of a million")
	}
}

// graph links some vertices as data says, three bytes a time.
func graph(data []byte) []any {
	var all [5]vertex
	var lat [5]lattice
	for i := range all {
		all[i].N = i
	}
	for ; len(data) >= 3; data = data[3:] {
		i, j := int(data[0]%5), int(data[1]%5)
		from, to := &all[i], &all[j]
		switch data[2] % 16 {
		case 0:
			from.P = to
		case 1:
			from.S = append(from.S, to)
		case 2:
			from.M = map[string]*vertex{"to": to, "nil": nil}
		case 3:
			from.A = to
		case 4:
			from.L = append(from.L, *to)
		case 5:
			from.D = map[string]any{"to": to, "x": 1}
		case 6:
			from.D = to.D
		case 7:
			from.L = append(from.L, to.L)
		case 8:
			from.A = &to.A
		case 9:
			from.A = map[string]any{"in": []any{[1]any{to}}}
		case 10:
			from.A = []*lattice{&lat[j]}
		case 11:
			lat[i].E = &lat[j]
		case 12:
			lat[i].A[0] = &lat[j]
		case 13:
			lat[i].K = map[int]any{j: &lat[j]}
		case 14:
			lat[i].V = lat[j]
		case 15:
			if from.L != nil {
				from.L[0] = from.L
			}
		}
	}
	return []any{&all[0], all[1], map[string]any{"a": &all[2]}, []any{all[3]}, &lat[0], lat[1], []any{&lat[2]}}
}

// FuzzCycles holds Encode to encoding/json: it refuses the same values, and encodes the
// others the same way.
func FuzzCycles(f *testing.F) {
	for _, s := range []string{"", "000", "010111102", "013133303", "004", "005", "077007", "00?", "01<10<", "01;12;20;", "00>00=", "01:10:11<", "001008"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 3*20 {
			return
		}
		for _, v := range graph(data) {
			want, wantErr := stdjson.Marshal(v)
			got, err := json.Serializer.Encode(nil, v)
			if (err == nil) != (wantErr == nil) || string(got) != string(want) {
				t.Fatalf("%T: %.200s, %v; encoding/json gives %.200s, %v", v, got, err, want, wantErr)
			}
		}
	})
}
