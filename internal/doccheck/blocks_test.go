package doccheck

import (
	"slices"
	"testing"
)

func TestBlocks(t *testing.T) {
	got, err := Blocks("a.md", "# A\n\n```go\nx := 1\n\n_ = x\n```\ntext ``` text\n```text\n1\n```\n```\nplain\n```\n")
	want := []Block{
		{"a.md", 4, "go", "x := 1\n\n_ = x\n"},
		{"a.md", 10, "text", "1\n"},
		{"a.md", 13, "", "plain\n"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := Blocks("a.md", "```go\n```\n\n```go\nx\n"); err == nil || err.Error() != "a.md:4: the block that begins here has no end" {
		t.Errorf("a block without an end: %v", err)
	}
}

func TestProgramsOf(t *testing.T) {
	const file = "// Command x.\npackage main\n"
	blocks := []Block{
		{Lang: "go", Text: file, Line: 1},
		{Lang: "text", Text: "1\n", Line: 2}, // its output
		{Lang: "text", Text: "2\n", Line: 3},
		{Lang: "go", Text: "fmt.Println(3)\n", Line: 4}, // no file
		{Lang: "text", Text: "3\n", Line: 5},
		{Lang: "console", Text: file, Line: 6}, // no Go
		{Lang: "text", Text: "4\n", Line: 7},
		{Lang: "go", Text: file, Line: 8}, // without output
		{Lang: "go", Text: file, Line: 9},
		{Lang: "text", Text: "", Line: 10},
		{Lang: "go", Text: file, Line: 11},
	}
	want := []Program{{blocks[0], blocks[1]}, {blocks[8], blocks[9]}}
	if got := Programs(blocks); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
