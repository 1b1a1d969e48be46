package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
)

// axisText is how an axis is shown.
type axisText struct {
	title   string
	first   string     // the title of the first column, and of the x axis
	columns []string   // the others
	plots   [][]string // columns, those of one plot together
}

// axisTexts returns how each axis is shown.
func axisTexts() map[string]axisText {
	return map[string]axisText{
		growth.Connections: {
			title: "128 callers, more and more connections; memory is that of each, before and after the calls", first: "connections",
			columns: []string{colRate, colP50, colP99, colCPU, colServerGo, colServerRes, colBusyGo},
			plots:   [][]string{{colRate}, {colCPU}, {colServerGo, colServerRes, colBusyGo}},
		},
		growth.Routes: {
			title: "128 callers, one connection, more and more routes", first: "routes",
			columns: []string{colRate, colP50, colP99, colCPU, colAllocs, colRegister, colRouteGo},
			plots:   [][]string{{colRate}, {colCPU}},
		},
		growth.Flight: {
			title: "More and more calls in flight on one connection, in waves; memory is that of each while all wait", first: "calls in flight",
			columns: []string{colRate, colP50, colP99, colCPU, colAllocs, colServerGo, colServerRes, colClientGo},
			plots:   [][]string{{colRate}, {colCPU}, {colServerGo, colServerRes, colClientGo}},
		},
		growth.Payload: {
			title: "Larger and larger payloads on one connection", first: "payload",
			columns: []string{colRate, colMiB, colP50, colP99, colCPU, colCPUKiB, colAlloced},
			plots:   [][]string{{colRate}, {colMiB}, {colCPU}, {colCPUKiB}},
		},
		growth.Neighbours: {
			title: "16 connections with calls at a fixed rate, while one more floods the server", first: "flood",
			columns: []string{colRate, colP50, colP99, colP999, colLate, colFlood, colSharedCPU},
		},
	}
}

// pointName returns what a point is called among those of its axis.
func pointName(p growth.Point) string {
	switch {
	case p.Axis == growth.Neighbours && p.Kind == growth.Alone:
		return "none"
	case p.Axis == growth.Neighbours:
		return p.Kind
	case p.Axis == growth.Payload:
		return bytesName(p.N)
	case p.Kind != "":
		return thousands(strconv.Itoa(p.N)) + " " + p.Kind
	}
	return thousands(strconv.Itoa(p.N))
}

// bytesName writes a number of bytes.
func bytesName(n int) string {
	unit := " B"
	for _, larger := range []string{" KiB", " MiB"} {
		if n < 1<<10 || n%(1<<10) != 0 {
			break
		}
		n, unit = n>>10, larger
	}
	return thousands(strconv.Itoa(n)) + unit
}

// axisOf returns the settings on the axis of one of them, in order.
func (r *results) axisOf(setting Case) []Case {
	var list []Case
	for _, s := range r.settings {
		if s.Part == partGrowth && s.Point.Axis == setting.Point.Axis {
			list = append(list, s)
		}
	}
	return list
}

// growthTable writes the table of an axis, a line for each point.
func (r *results) growthTable(w io.Writer, settings []Case) {
	text := axisTexts()[settings[0].Point.Axis]
	fmt.Fprintf(w, "\n### %s\n\n| %s | %s |\n|--:|%s\n", text.title, text.first, strings.Join(text.columns, " | "),
		strings.Repeat("--:|", len(text.columns)))
	for _, s := range settings {
		cells := make([]string, len(text.columns))
		for i, col := range text.columns {
			cells[i] = r.cell(s, growth.Name, col, 0)
		}
		fmt.Fprintf(w, "| %s | %s |\n", pointName(s.Point), strings.Join(cells, " | "))
	}
}

// growthPlots draws an axis.
func (r *results) growthPlots(dir string, settings []Case) error {
	axis := settings[0].Point.Axis
	if axis == growth.Neighbours {
		return r.neighbourBars(dir, settings)
	}
	for _, columns := range axisTexts()[axis].plots {
		if err := r.growthLines(dir, settings, columns); err != nil {
			return err
		}
	}
	return nil
}

// growthLines draws columns of an axis: a line for each, and of each kind of points.
func (r *results) growthLines(dir string, settings []Case, columns []string) error {
	axis := settings[0].Point.Axis
	text := axisTexts()[axis]
	c := chart{x: text.first, y: columns[0]}
	word := fileWord(columns[0])
	if len(columns) > 1 {
		c.y, word = "bytes for each", "memory"
	}
	c.title = fmt.Sprintf("%s with more and more %s", c.y, text.first)
	c.file = "growth-" + axis + "-" + word + ".svg"
	var kinds []string
	for _, s := range settings {
		if !slices.Contains(kinds, s.Point.Kind) {
			kinds = append(kinds, s.Point.Kind)
		}
		c.mark(float64(s.Point.N), pointName(growth.Point{Axis: axis, N: s.Point.N}))
	}
	for _, kind := range kinds {
		for _, column := range columns {
			name := kind
			if len(columns) > 1 {
				name = strings.TrimSpace(kind + " " + column)
			}
			of := slices.DeleteFunc(slices.Clone(settings), func(s Case) bool { return s.Point.Kind != kind })
			c.series = append(c.series, series{name, growthStyle(len(c.series)), r.points(of, growth.Name, column)})
		}
	}
	return c.draw(dir)
}

// neighbourBars draws what a flood does to others' latency.
func (r *results) neighbourBars(dir string, settings []Case) error {
	c := barChart{
		file: "growth-neighbours.svg", title: "latency of others while one connection floods the server", x: "µs from when a call was due",
	}
	settings = slices.Clone(settings)
	slices.Reverse(settings) // the y axis goes upwards
	for _, s := range settings {
		c.names = append(c.names, "flood: "+pointName(s.Point))
	}
	for _, column := range []string{colP99, colP50} {
		values := make([]float64, len(settings))
		for i, s := range settings {
			of, _ := r.spread(s, growth.Name, column)
			values[i] = of.median
		}
		c.bars = append(c.bars, bars{column, values})
	}
	return c.draw(dir)
}
