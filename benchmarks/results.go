package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// results are what all rounds have found.
type results struct {
	settings []Case // in order, without peers
	values   map[Case]map[string][]float64
}

func newResults() *results {
	return &results{values: make(map[Case]map[string][]float64)}
}

// add takes what one round has found.
func (r *results) add(c Case, m Metrics) {
	if !slices.Contains(r.settings, c.shared()) {
		r.settings = append(r.settings, c.shared())
	}
	if r.values[c] == nil {
		r.values[c] = make(map[string][]float64)
	}
	for name, v := range m {
		r.values[c][name] = append(r.values[c][name], v)
	}
}

// spread is the median of the rounds, and the least and the most.
type spread struct{ median, min, max float64 }

// spread returns what the rounds have found, and false if they haven't.
func (r *results) spread(setting Case, peer, column string) (spread, bool) {
	setting.Peer = peer
	list := slices.Sorted(slices.Values(r.values[setting][column]))
	n := len(list)
	if n == 0 {
		return spread{}, false
	}
	return spread{(list[(n-1)/2] + list[n/2]) / 2, list[0], list[n-1]}, true
}

// write writes the tables to out, and with the plots to the plan's folder.
func (r *results) write(p *plan, out io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s, %s/%s, %d cores; medians of %d rounds of %v, and in brackets the least and the most.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), p.rounds, p.time)
	for _, setting := range r.settings {
		if setting.Part != partGrowth {
			r.table(&text, setting)
		} else if axis := r.axisOf(setting); axis[0] == setting {
			r.growthTable(&text, axis)
		}
	}
	if _, err := out.Write(text.Bytes()); err != nil || p.out == "" {
		return err
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.out, "results.md"), text.Bytes(), 0o644); err != nil {
		return err
	}
	return r.plots(p.out)
}

// columns returns the columns of a part's tables.
func columns(part string) []string {
	switch part {
	case partIdle:
		return []string{colServerGo, colServerRes, colClientGo, colClientRes}
	case partOpen:
		return []string{colRate, colP50, colP99, colP999, colLate, colCPU}
	}
	return []string{colRate, colRatio, colP50, colP99, colCPU, colAllocs, colAlloced, colWrites, colWire}
}

// table writes one setting's table.
func (r *results) table(w io.Writer, setting Case) {
	cols := columns(setting.Part)
	fmt.Fprintf(w, "\n### %s\n\n| peer | %s |\n|:--|%s\n", setting.setting(), strings.Join(cols, " | "),
		strings.Repeat("--:|", len(cols)))
	fastest := r.fastest(setting)
	for _, p := range r.peersOf(setting) {
		cells := make([]string, len(cols))
		for i, col := range cols {
			cells[i] = r.cell(setting, p.Name, col, fastest)
		}
		fmt.Fprintf(w, "| %s | %s |\n", p.Name, strings.Join(cells, " | "))
	}
}

// peersOf returns the peers that a setting has results of.
func (r *results) peersOf(setting Case) []peers.Peer {
	return slices.DeleteFunc(peers.All(), func(p peers.Peer) bool {
		setting.Peer = p.Name
		return r.values[setting] == nil
	})
}

// fastest returns the most calls that a peer which knows calls has made each second.
func (r *results) fastest(setting Case) float64 {
	most := 0.0
	for _, p := range r.peersOf(setting) {
		if s, ok := r.spread(setting, p.Name, colRate); ok && !p.Raw {
			most = max(most, s.median)
		}
	}
	return most
}

// cell writes a median and its spread.
func (r *results) cell(setting Case, peer, column string, fastest float64) string {
	if column == colRatio {
		s, _ := r.spread(setting, peer, colRate)
		if fastest == 0 {
			return "–"
		}
		return strconv.FormatFloat(s.median/fastest, 'f', 2, 64)
	}
	s, ok := r.spread(setting, peer, column)
	if !ok {
		return "–"
	}
	median, least, most := number(s.median), number(s.min), number(s.max)
	if least == most {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, least, most)
}

// number writes three digits that count, or the whole number if it has more.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	text := strconv.FormatFloat(v, 'f', max(0, min(digits, 3)), 64)
	whole, rest, _ := strings.Cut(text, ".")
	whole = thousands(whole)
	if rest != "" {
		whole += "." + rest
	}
	return whole
}

// thousands sets commas in a whole number.
func thousands(whole string) string {
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole
}
