package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// TestMain lets the tests' program be the child that a measurement starts.
func TestMain(m *testing.M) {
	if handled, err := child(os.Args[1:], os.Stdin, os.Stdout); handled {
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The race detector has every child sleep for a second at its end.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// TestRun measures a little of every part, in one process and in two, and looks at the files.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	var out, progress bytes.Buffer
	err := run(t.Context(), []string{
		"-quick", "-parts", "calls,open,idle", "-peers", "raw-pipelined,flyrpc-msgpack-handle", "-size", "64B", "-rates", "500,1000",
		"-time", "20ms", "-conns", "20", "-rounds", "2", "-out", dir,
	}, &out, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, want := range []string{
		"### 64B, 1 caller, one process", "### 64B, 16 callers, two processes", "### 64B at 1000 calls/s",
		"### 20 idle connections", "| raw-pipelined | ", "| flyrpc-msgpack-handle | ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if cell := regexp.MustCompile(`\| (0|NaN|-\S*|\+Inf) \|`).FindString(out.String()); cell != "" {
		t.Errorf("there is %s in\n%s", cell, out.String())
	}
	for _, name := range []string{
		"results.md", "calls-one-64B-calls-per-s.svg", "calls-two-64B-p99.svg", "calls-one-64B-cpu.svg",
		"open-two-64B-p50.svg", "open-two-64B-p99.svg", "idle.svg",
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChildErrors has a child fail, and looks for its words.
func TestChildErrors(t *testing.T) {
	_, err := startCase(t.Context(), Case{Part: partCalls, Peer: "pigeon", Time: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), `no peer "pigeon"`) {
		t.Error(err)
	}
	if _, err := startProcess(Case{Part: partCalls, Peer: "pigeon"}); err == nil {
		t.Error("a server of no peer has started")
	}
}

func TestPlan(t *testing.T) {
	p, err := parsePlan([]string{"-rounds", "2", "-parts", "calls"}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.peers) != len(peers.All()) {
		t.Errorf("%d peers", len(p.peers))
	}
	cases := p.cases()
	if cases[0].Peer == cases[len(cases)/2].Peer {
		t.Errorf("both rounds begin with %s", cases[0].Peer)
	}
	for _, c := range cases {
		if c.Size*c.Callers > maxInFlight || c.Peer == "raw-pingpong" && c.Callers > 1 {
			t.Errorf("%+v", c)
		}
	}
	first, second := cases[:len(cases)/2], cases[len(cases)/2:]
	for _, c := range first {
		if !slices.Contains(second, c) {
			t.Errorf("the second round has no %+v", c)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for _, args := range []string{
		"-peers pigeon", "-parts flight", "-size 2B", "-callers 0", "-rates x", "-rounds 0", "-modes three", "-time 0s",
		"-what", "more",
	} {
		if _, err := parsePlan(strings.Fields(args), new(bytes.Buffer)); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
	err := run(t.Context(), []string{"-peers", "raw-ping", "-parts", "open"}, new(bytes.Buffer), new(bytes.Buffer))
	if err == nil {
		t.Error("a run without measurements is accepted")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.1234: "0.123", 0.00012: "0.000", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	r := newResults()
	c := Case{Part: partCalls, Peer: "grpc", Callers: 1}
	for _, v := range []float64{3, 1, 10, 2} {
		r.add(c, Metrics{colRate: v})
	}
	if s, ok := r.spread(c, "grpc", colRate); !ok || s != (spread{2.5, 1, 10}) {
		t.Errorf("%+v", s)
	}
	if _, ok := r.spread(c, "nats", colRate); ok {
		t.Error("there is a spread of nothing")
	}
	if len(r.settings) != 1 {
		t.Error(r.settings)
	}
}
