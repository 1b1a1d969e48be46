package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
)

// TestGrowth measures a little of every axis, and looks at the files.
func TestGrowth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	var out, progress bytes.Buffer
	err := run(t.Context(), []string{
		"-quick", "-parts", "growth", "-growth-conns", "8,120", "-growth-routes", "3,100", "-growth-flight", "1,150",
		"-growth-payload", "16,65536", "-growth-rate", "50", "-time", "100ms", "-out", dir,
	}, &out, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	const cell = ` \d[\d,.]* \|`
	for _, want := range []string{
		`\| 8 \|` + strings.Repeat(cell, 5) + ` – \|` + cell, `\| 120 \|` + strings.Repeat(cell, 7),
		`\| 3 exact \|` + strings.Repeat(cell, 6) + ` – \|`, `\| 100 patterns \|` + strings.Repeat(cell, 7),
		`\| 1 \|` + strings.Repeat(cell, 6) + ` – \|` + cell, `\| 150 \|` + strings.Repeat(cell, 8),
		`\| 16 B \|` + strings.Repeat(cell, 7), `\| 64 KiB \|` + strings.Repeat(cell, 7),
		`\| none \|` + strings.Repeat(cell, 5) + ` – \|` + cell,
		`\| calls \|` + strings.Repeat(cell, 7), `\| messages \|` + strings.Repeat(cell, 7),
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line is like %s in\n%s", want, out.String())
		}
	}
	for _, name := range []string{
		"results.md", "growth-connections-calls-per-s.svg", "growth-connections-cpu.svg", "growth-connections-memory.svg",
		"growth-routes-calls-per-s.svg", "growth-routes-cpu.svg", "growth-flight-calls-per-s.svg", "growth-flight-cpu.svg",
		"growth-flight-memory.svg", "growth-payload-calls-per-s.svg", "growth-payload-mib-per-s.svg",
		"growth-payload-cpu.svg", "growth-payload-cpu-a-kib.svg", "growth-neighbours.svg",
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGrowthPlan looks at what is measured without flags.
func TestGrowthPlan(t *testing.T) {
	byDefault, err := parsePlan(nil, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(byDefault.parts, partGrowth) {
		t.Error("growth is measured without having been asked for")
	}
	p, err := parsePlan([]string{"-parts", "growth", "-rounds", "2"}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cases := p.cases()
	if n := 2 * (6 + 2*4 + 6 + 7 + 3); len(cases) != n {
		t.Errorf("%d measurements, want %d", len(cases), n)
	}
	for _, c := range cases {
		if c.Peer != growth.Name || c.Mode != twoProcesses || c.Callers < 1 || c.Point.Axis != growth.Flight && c.Size*c.Callers > maxInFlight {
			t.Errorf("%+v", c)
		}
	}
	if took := p.estimate(cases); took < time.Duration(len(cases))*p.time {
		t.Errorf("%d measurements of %v are to take %v", len(cases), p.time, took)
	}
}

func TestGrowthPlanErrors(t *testing.T) {
	for flags, want := range map[string]string{
		"-growth up":           `"up" is none of`,
		"-growth-conns 0":      `"0" is no number`,
		"-growth-routes x":     `"x" is no number`,
		"-growth-payload -1":   `"-1" is no number`,
		"-growth-flight 32702": "at most 32701",
		"-growth-rate 0":       "at least 1, not 0",
	} {
		_, err := parsePlan(strings.Fields("-parts growth "+flags), new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", flags, err)
		}
	}
}

// TestGrowthChildErrors has children fail, and looks for their words.
func TestGrowthChildErrors(t *testing.T) {
	_, err := startCase(t.Context(), Case{Part: partGrowth, Point: growth.Point{Axis: "height"}, Time: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), `no axis "height"`) {
		t.Error(err)
	}
	slow := Case{Part: partGrowth, Mode: twoProcesses, Size: 32 << 20, Callers: 1, Point: growth.Point{Axis: growth.Payload, N: 32 << 20}, Time: 1}
	if _, err := startCase(t.Context(), slow); err == nil || !strings.Contains(err.Error(), "measure for longer (-time)") {
		t.Error(err)
	}
	order, err := json.Marshal(floodOrder{growth.Point{Axis: growth.Neighbours, Kind: "tea"}, "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{string(order): `no flood of "tea"`, "{": "JSON"} {
		if err := floodServer(arg, new(bytes.Buffer), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// TestFloodEnds has a flood end before its time: nobody takes that for a measurement.
func TestFloodEnds(t *testing.T) {
	point := growth.Point{Axis: growth.Neighbours, Kind: growth.Calls, N: 1}
	p, err := point.Peer()
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Serve()
	if err != nil {
		t.Fatal(err)
	}
	f, err := startFlood(Case{Point: point}, s.Addr)
	if err != nil {
		s.Close()
		t.Fatal(err)
	}
	defer f.close()
	if _, err := f.state(); err != nil {
		t.Error(err)
	}
	s.Close()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		_, err := f.state()
		if err != nil {
			if !strings.Contains(err.Error(), "the flood has ended: ") {
				t.Error(err)
			}
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("a flood of nobody goes on")
		}
	}
}

func TestBytesName(t *testing.T) {
	for n, want := range map[int]string{
		1: "1 B", 16: "16 B", 1000: "1,000 B", 1025: "1,025 B", 4096: "4 KiB", 1 << 20: "1 MiB", 64 << 20: "64 MiB", 2 << 30: "2,048 MiB",
	} {
		if got := bytesName(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
