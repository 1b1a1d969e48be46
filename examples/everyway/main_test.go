package main

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryWay: each way calls the handler and gets its answer, as the README shows it.
func TestEveryWay(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "bash", "everyway.sh", freePort(t)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n\n") {
		if !strings.Contains(string(readme), part+"\n") {
			t.Errorf("the README doesn't have this:\n%s", part)
		}
	}
	if n := strings.Count(string(out), "Ada"); n != 8 { // the last answer is a dump, which has it as text
		t.Errorf("%d answers name Ada:\n%s", n, out)
	}
}

// freePort returns a port that nobody listens on, of TCP nor UDP.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
