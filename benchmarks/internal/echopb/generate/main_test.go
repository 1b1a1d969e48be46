package main

import (
	"bytes"
	"os"
	"testing"
)

// TestGenerated checks that echo.pb.go is what the command makes of echo.proto.
func TestGenerated(t *testing.T) {
	t.Chdir("..")
	want, err := generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("echo.pb.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("echo.pb.go is out of date: run go generate in benchmarks/internal/echopb")
	}
}
