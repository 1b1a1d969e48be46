package layout

import "testing"

func TestImports(t *testing.T) {
	table := map[string]Rule{
		".":            {Imports: []string{"low"}, Tests: []string{"kit"}},
		"low":          {},
		"kit":          {},
		"examples/...": {Imports: []string{"..."}},
		"examples/odd": {},
	}
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"allowed", map[string]string{"a.go": importing("fmt", "/low"), "low/b.go": importing("x.org/y")}, nil},
		{
			"not allowed",
			map[string]string{"low/b.go": importing("/kit")},
			[]string{`low/b.go imports ` + Module + `/kit: if the design allows it, add "kit" to Imports of "low"`},
		},
		{"the root", map[string]string{"low/b.go": importing(".")}, []string{`add "." to Imports of "low"`}},
		{"a test of what it tests", map[string]string{"a_test.go": importing(".", "/low", "/kit")}, nil},
		{"code as a test may", map[string]string{"a.go": importing("/kit")}, []string{`add "kit" to Imports of "."`}},
		{"a test", map[string]string{"low/b_test.go": importing("/kit")}, []string{`add "kit" to Tests of "low"`}},
		{"below a pattern", map[string]string{"examples/chat/a.go": importing(".", "/low")}, nil},
		{"an exact key goes first", map[string]string{"examples/odd/a.go": importing("/low")}, []string{`of "examples/odd"`}},
		{
			"not in the table",
			map[string]string{"new/a.go": importing("fmt", "/low", "/kit"), "new/b.go": importing("/low"), "new/b_test.go": importing(".")},
			[]string{`add "new": {Imports: []string{"kit", "low"}} to Packages`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantProblems(t, Imports(parseTree(t, tt.files), table), tt.want)
		})
	}
}

func TestBorders(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"transport on packets", map[string]string{"transport/tcp.go": importing("net", ".")}, []string{"a transport knows no packets"}},
		{"transport on itself", map[string]string{"transport/mux/a.go": importing("/transport")}, nil},
		{"serializer on an internal package", map[string]string{"serializer/json/a.go": importing("/internal/pool")}, []string{"knows no packets"}},
		{"middleware on the root", map[string]string{"middleware/log.go": importing(".")}, nil},
		{"middleware on a transport", map[string]string{"middleware/log.go": importing("/transport")}, []string{"knows only the root"}},
		{
			"the root on what is above it",
			map[string]string{"a.go": importing("/middleware", "/service/membus", "/gateway", "/transport")},
			[]string{"flyrpc/middleware: the root", "flyrpc/service/membus: the root", "flyrpc/gateway: the root"},
		},
		{"internal on the root", map[string]string{"internal/pool/a.go": importing(".")}, []string{"never know the root"}},
		{"a test", map[string]string{"a_test.go": importing("/middleware")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantProblems(t, Borders(parseTree(t, tt.files), Walls()), tt.want)
		})
	}
}
