package layout

import "testing"

func TestModules(t *testing.T) {
	modules := map[string]string{"go.mod": "", "a/go.mod": "", "b/c/go.mod": "", "testdata/go.mod": ""}
	tests := []struct {
		name, work string
		apart      map[string]string
		want       []string
	}{
		{"one line each", "go 1.25\nuse .\nuse ./a // why\nuse b/c\n", nil, nil},
		{"a group", "go 1.25\n\nuse (\n\t.\n\t./a\n\t// a note\n\n\t./b/c\n)\n", nil, nil},
		{"apart", "use .\nuse ./a\n", map[string]string{"b/c": "it says so"}, nil},
		{"missing", "use .\n// use ./a\n", nil, []string{"module a is not in go.work: add use ./a", "module b/c"}},
		{"after a group", "use (\n.\n./b/c\n)\nreplace ./a => ./b\n", nil, []string{"module a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := madeUp(modules)
			fsys["go.work"] = madeUp(map[string]string{"w": tt.work})["w"]
			got, err := Modules(fsys, tt.apart)
			if err != nil {
				t.Fatal(err)
			}
			wantProblems(t, got, tt.want)
		})
	}
}

func TestModulesWithoutWorkspace(t *testing.T) {
	if _, err := Modules(madeUp(nil), nil); err == nil {
		t.Error("no error")
	}
}
