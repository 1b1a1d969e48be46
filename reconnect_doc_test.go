package flyrpc

import (
	"os"
	"strings"
	"testing"
)

// TestReconnectDoc: each row of the table in docs/reconnect.md names tests that are there.
func TestReconnectDoc(t *testing.T) {
	text, err := os.ReadFile("docs/reconnect.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n## What happened")
	if !ok {
		t.Fatal("there is no heading What happened")
	}
	tests := testNames(t)
	rows := tableRows(table)
	if len(rows) < 20 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		for name := range strings.SplitSeq(row[len(row)-1], ", ") {
			if !tests[name] {
				t.Errorf("%s: there is no test %q", row[0], name)
			}
		}
	}
}
