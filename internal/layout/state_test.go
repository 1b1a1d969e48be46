package layout

import "testing"

func TestVariables(t *testing.T) {
	tests := []struct {
		declaration string
		want        string // "" when it is no state
	}{
		{"var x map[string]int", "map"},
		{"var x = map[string]int{}", "map"},
		{"var x = make(map[string]int)", "map"},
		{"var x = &map[string]int{}", "map"},
		{"var x = make(chan int)", "channel"},
		{"var x chan<- int", "channel"},
		{"var x sync.Mutex", "sync.Mutex"},
		{"var x *sync.Mutex", "sync.Mutex"},
		{"var x = sync.Pool{}", "sync.Pool"},
		{"var x = new(sync.Map)", "sync.Map"},
		{"var x = sync.OnceValue(f)", "sync.OnceValue"},
		{"var x atomic.Pointer[int]", "atomic.Pointer"},
		{"var x = (*atomic.Pointer[int])(nil)", ""},
		{"var x struct{ sync.Mutex; m map[int]int }", "sync.Mutex"},
		{"var x struct{ a T }", ""},
		{"var x int", "plain value"},
		{"var x = 1", "plain value"},
		{"var x = -1", "plain value"},
		{"var x = \"dev\"", "plain value"},
		{"var x = (true)", "plain value"},
		{"var y, x = f(), 1", "plain value"},
		{"var x = errors.New(\"x\")", ""},
		{"var x = f(1)", ""},
		{"var x, y = f()", ""},
		{"var x = []string{\"a\"}", ""},
		{"var x T", ""},
		{"var _ I = (*T)(nil)", ""},
		{"var _ = 1", ""},
		{"const x = 1", ""},
		{"func x() { var m map[int]int; _ = m }", ""},
	}
	for _, tt := range tests {
		t.Run(tt.declaration, func(t *testing.T) {
			var want []string
			if tt.want != "" {
				want = []string{"p/a.go:2: x is state (" + tt.want + ") that"}
			}
			tree := parseTree(t, map[string]string{"p/a.go": "package p\n" + tt.declaration})
			wantProblems(t, Variables(tree, nil), want)
		})
	}
}

func TestVariablesAllowed(t *testing.T) {
	tree := parseTree(t, map[string]string{
		"p/a.go":      "package p\nvar x, y sync.Mutex\n",
		"p/a_test.go": "package p\nvar z sync.Mutex\n",
	})
	allowed := map[string]string{"p.x": "it says so", "p.z": "it says so"}
	wantProblems(t, Variables(tree, allowed), []string{
		`give the reason under "p.y" in State`,
		`State allows "p.z", which is no such variable`,
	})
	if len(allowed) != 2 {
		t.Error("the allowlist was changed")
	}
}
