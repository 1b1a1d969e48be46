package layout

import "testing"

func TestThirdParty(t *testing.T) {
	table := []Library{
		{Path: "x.org/json", In: []string{"json"}, OneFile: true, Used: true},
		{Path: "x.org/proto", In: []string{"proto"}, Tests: []string{"..."}},
		{Path: "x.org/leak", Tests: []string{"..."}},
	}
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing else", nil, nil},
		{"in its place", map[string]string{"proto/a.go": importing("x.org/proto", "x.org/proto/deep")}, nil},
		{"in another place", map[string]string{"a.go": importing("x.org/proto/deep")}, []string{"a.go imports x.org/proto/deep, which belongs in proto alone"}},
		{"in tests", map[string]string{"a_test.go": importing("x.org/proto", "x.org/leak")}, nil},
		{"code with a module for tests", map[string]string{"a.go": importing("x.org/leak")}, []string{"belongs in tests alone"}},
		{"a test elsewhere", map[string]string{"a_test.go": importing("x.org/json")}, []string{"belongs in json alone"}},
		{"two files", map[string]string{"json/b.go": importing("x.org/json")}, []string{"json/a.go and json/b.go: one file"}},
		{"unknown", map[string]string{"a.go": importing("x.org/jsonish")}, []string{"a.go imports x.org/jsonish: add its module"}},
		{"unknown in a test", map[string]string{"a_test.go": importing("y.org/z")}, []string{"a_test.go imports y.org/z"}},
		{"the standard library and ours", map[string]string{"a.go": importing("net/http", ".", "/json")}, nil},
		{
			"used by tests alone",
			map[string]string{"json/a.go": importing(), "json/a_test.go": importing("x.org/json")},
			[]string{"x.org/json is imported nowhere outside tests: it must be used in json"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"json/a.go": importing("x.org/json")}
			for name, text := range tt.files {
				files[name] = text
			}
			wantProblems(t, ThirdParty(parseTree(t, files), table), tt.want)
		})
	}
}
