package pathtree

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text  string
		shape string
		names []string
	}{
		{"", "", nil},
		{"hello", "hello", nil},
		{"user.get", "user.get", nil},
		{"/a}b", "/a}b", nil},
		{"/user/get/", "/user/get/", nil},
		{"{id}", "{}", []string{"id"}},
		{"/user/{id}", "/user/{}", []string{"id"}},
		{"/{a}/{b}/", "/{}/{}/", []string{"a", "b"}},
		{"/{type}/{_}", "/{}/{}", []string{"type", "_"}},
		{"/{größe}", "/{}", []string{"größe"}},
		{"{path...}", "{...}", []string{"path"}},
		{"/files/{id}/{path...}", "/files/{}/{...}", []string{"id", "path"}},
	}
	for _, tt := range tests {
		p, err := Parse(tt.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.text, err)
			continue
		}
		if p.String() != tt.text || p.Shape() != tt.shape || !slices.Equal(p.Names(), tt.names) {
			t.Errorf("Parse(%q) = %q, shape %q, names %q", tt.text, p, p.Shape(), p.Names())
		}
		if p.Exact() != (tt.names == nil) {
			t.Errorf("Parse(%q).Exact() = %v", tt.text, p.Exact())
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a{id}", `segment "a{id}" has a { in its middle`},
		{"/x/a{b/y", `segment "a{b" has a { in its middle`},
		{"/{id}x/y", `segment "{id}x" begins with { and doesn't end with }`},
		{"/{", `segment "{" begins with { and doesn't end with }`},
		{"/{a{b}", `segment "{a{b}": "a{b" is no name`},
		{"/{a}{b}", `segment "{a}{b}": "a}{b" is no name`},
		{"/{}", `segment "{}": the name is empty`},
		{"/{...}", `segment "{...}": the name is empty`},
		{"/{1}", `segment "{1}": "1" is no name: it must be a Go identifier`},
		{"/{a b}", `"a b" is no name`},
		{"/{a....}", `"a." is no name`},
		{"/{p...}/x", `{p...} fills all that is left and must be the last segment`},
		{"/{p...}/", `must be the last segment`},
		{"/{a}/b/{a}", `the name a occurs twice`},
		{"/{a}/{a...}", `the name a occurs twice`},
		{strings.Repeat("/", MaxSegments) + "{a}", `the pattern has 257 segments, at most 256`},
	}
	for _, tt := range tests {
		_, err := Parse(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%q) = %v, want %s", tt.text, err, tt.want)
		}
	}
}
