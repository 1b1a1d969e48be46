package bustest

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedBus checks that the bus in the documentation is the one that is tested here, and short.
func TestDocumentedBus(t *testing.T) {
	document, err := os.ReadFile("../../docs/bus.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("loop_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), "```go\n"+string(program)+"```\n") {
		t.Error("the bus in docs/bus.md is not loop_test.go")
	}
	if lines := strings.Count(string(program), "\n"); lines >= 150 {
		t.Errorf("it has %d lines, less than 150 were promised", lines)
	}
}
