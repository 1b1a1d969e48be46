package transporttest

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedTransport checks that the transport in the documentation is the one that is tested here, and
// short.
func TestDocumentedTransport(t *testing.T) {
	document, err := os.ReadFile("../../docs/transports.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("named_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), "```go\n"+string(program)+"```\n") {
		t.Error("the transport in docs/transports.md is not named_test.go")
	}
	if lines := strings.Count(string(program), "\n"); lines >= 100 {
		t.Errorf("it has %d lines, less than 100 were promised", lines)
	}
}
