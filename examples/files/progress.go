package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// bar shows how much of n bytes has been written to it: as a bar on a terminal, else in a few lines.
type bar struct {
	what     string
	n, done  int64
	shown    int64 // percent
	start    time.Time
	terminal bool
}

func newBar(what string, n int64) *bar {
	info, err := os.Stdout.Stat()
	return &bar{what: what, n: n, start: time.Now(), terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Write counts p.
func (b *bar) Write(p []byte) (int, error) {
	b.done += int64(len(p))
	step := int64(25)
	if b.terminal {
		step = 1
	}
	if percent := 100 * b.done / max(b.n, 1) / step * step; percent > b.shown {
		b.shown = percent
		b.show()
	}
	return len(p), nil
}

func (b *bar) show() {
	if b.terminal {
		full := min(int(b.shown)/2, 50)
		fmt.Printf("\r%-8s [%s%s] %3d%%", b.what, strings.Repeat("#", full), strings.Repeat(".", 50-full), b.shown)
		return
	}
	fmt.Printf("%s: %d%%\n", b.what, b.shown)
}

func (b *bar) finish() {
	if b.terminal {
		fmt.Println()
	}
	took := time.Since(b.start)
	fmt.Printf("%s: %.1f MiB in %.2f s, %.0f MiB/s\n", b.what, mib(b.done), took.Seconds(), mib(b.done)/took.Seconds())
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
