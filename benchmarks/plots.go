package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/go-flyrpc/flyrpc/benchmarks/internal/growth"
	"github.com/go-flyrpc/flyrpc/benchmarks/internal/peers"
)

// The measures of a plot.
const (
	plotWidth   = 24 * vg.Centimeter
	plotHeight  = 13 * vg.Centimeter
	legendWidth = 6 * vg.Centimeter
	margin      = vg.Inch / 9
	barWidth    = 7 * vg.Inch / 72
)

// Where the font of the plots is missing, others have letters of the same widths.
const (
	fontName  = "font-family:Liberation Sans;"
	fontNames = "font-family:Liberation Sans,Arial,Helvetica,sans-serif;"
)

// plots draws what was measured with more than one number of callers or rate, and
// the memory of connections.
func (r *results) plots(dir string) error {
	plot.DefaultFont.Variant = "Sans"
	for _, group := range r.groups() {
		first := group[0]
		if first.Part == partGrowth {
			if err := r.growthPlots(dir, group); err != nil {
				return err
			}
			continue
		}
		columns := []string{colRate, colP99, colCPU}
		switch first.Part {
		case partOpen:
			columns = []string{colP50, colP99}
		case partIdle:
			if err := r.bars(dir, first); err != nil {
				return err
			}
			continue
		}
		for _, column := range columns {
			if err := r.lines(dir, group, column); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups returns the settings that differ in callers or rate alone, or lie on one axis of growth.
func (r *results) groups() [][]Case {
	var groups [][]Case
	for _, s := range r.settings {
		i := slices.IndexFunc(groups, func(g []Case) bool { return family(g[0]) == family(s) })
		if i < 0 {
			groups = append(groups, []Case{s})
		} else {
			groups[i] = append(groups[i], s)
		}
	}
	return groups
}

// family returns a setting without what lies along the x axis.
func family(c Case) Case {
	if c.Part == partGrowth {
		return Case{Part: c.Part, Point: growth.Point{Axis: c.Point.Axis}}
	}
	c.Rate = 0
	if c.Part == partCalls {
		c.Callers = 0
	}
	return c
}

// along returns what lies along the x axis.
func along(c Case) float64 {
	if c.Part == partGrowth {
		return float64(c.Point.N)
	}
	if c.Part == partOpen {
		return float64(c.Rate)
	}
	return float64(c.Callers)
}

// lines draws a column of a group: a line for each peer, with its spreads.
func (r *results) lines(dir string, group []Case, column string) error {
	first := group[0]
	c := chart{
		file:  strings.Join([]string{first.Part, first.Mode, sizeName(first.Size), fileWord(column)}, "-") + ".svg",
		title: fmt.Sprintf("%s of echo calls, %s, %s", column, sizeName(first.Size), processes(first.Mode)),
		x:     "callers on one connection", y: column,
	}
	if first.Part == partOpen {
		c.title = column + " of echo calls at fixed rates, " + sizeName(first.Size)
		c.x = "calls/s"
	}
	for _, s := range group {
		c.mark(along(s), strconv.FormatFloat(along(s), 'f', -1, 64))
	}
	for i, peer := range peers.All() {
		c.series = append(c.series, series{peer.Name, lineStyle(i, peer), r.points(group, peer.Name, column)})
	}
	return c.draw(dir)
}

// series is a line of a chart.
type series struct {
	name   string
	style  draw.LineStyle
	points points
}

// chart is a plot of lines, with logarithmic axes.
type chart struct {
	file, title, x, y string
	marks             plot.ConstantTicks // along the x axis
	series            []series
}

// mark marks a number that was measured.
func (c *chart) mark(value float64, label string) {
	t := plot.Tick{Value: value, Label: label}
	if !slices.Contains(c.marks, t) {
		c.marks = append(c.marks, t)
	}
}

// draw writes the chart, unless there are fewer than two numbers along it, or nothing that has a logarithm.
func (c *chart) draw(dir string) error {
	c.series = slices.DeleteFunc(c.series, func(s series) bool { return len(s.points.XYs) == 0 })
	if len(c.marks) < 2 || len(c.series) == 0 {
		return nil
	}
	p, legend := plot.New(), plot.NewLegend()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.X.Scale, p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Tick.Marker = c.marks
	p.Add(plotter.NewGrid())
	for _, s := range c.series {
		line, dots, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		bars, err := plotter.NewYErrorBars(s.points)
		if err != nil {
			return err
		}
		line.LineStyle, bars.LineStyle = s.style, s.style
		dots.Color, dots.Shape = line.Color, draw.CircleGlyph{}
		p.Add(line, dots, bars)
		if s.name != "" {
			legend.Add(s.name, line, dots)
		}
	}
	// Whole decades, or there may be no number at the y axis.
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Max))+1)
	return save(filepath.Join(dir, c.file), p, legend)
}

// points are the medians of a line and their spreads.
type points struct {
	plotter.XYs
	plotter.YErrors
}

// points returns the line of a peer.
func (r *results) points(group []Case, peer, column string) points {
	var ps points
	for _, setting := range group {
		s, ok := r.spread(setting, peer, column)
		if ok && s.min > 0 { // or it has no logarithm
			ps.XYs = append(ps.XYs, plotter.XY{X: along(setting), Y: s.median})
			ps.YErrors = append(ps.YErrors, struct{ Low, High float64 }{s.median - s.min, s.max - s.median})
		}
	}
	return ps
}

// bars draws the memory of idle connections.
func (r *results) bars(dir string, setting Case) error {
	c := barChart{
		file: "idle.svg", title: "memory of an idle connection, of " + strconv.Itoa(setting.Conns), x: "bytes in use by Go",
	}
	list := r.peersOf(setting)
	slices.Reverse(list) // the y axis goes upwards
	for _, peer := range list {
		c.names = append(c.names, peer.Name)
	}
	for _, column := range []string{colClientGo, colServerGo} {
		values := make([]float64, len(list))
		for i, peer := range list {
			s, _ := r.spread(setting, peer.Name, column)
			values[i] = s.median
		}
		c.bars = append(c.bars, bars{column, values})
	}
	return c.draw(dir)
}

// bars are the values of one column, from the bottom to the top.
type bars struct {
	name   string
	values []float64
}

// barChart is a plot of two columns side by side.
type barChart struct {
	file, title, x string
	names          []string // from the bottom to the top
	bars           []bars
}

// draw writes the chart.
func (c *barChart) draw(dir string) error {
	p, legend := plot.New(), plot.NewLegend()
	p.Title.Text, p.X.Label.Text = c.title, c.x
	for i, b := range c.bars {
		chart, err := plotter.NewBarChart(plotter.Values(b.values), barWidth)
		if err != nil {
			return err
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, palette()[i+1], 0
		chart.Offset = barWidth * (vg.Length(i) - 0.5)
		p.Add(chart)
		legend.Add(b.name, chart)
	}
	p.NominalY(c.names...)
	return save(filepath.Join(dir, c.file), p, legend)
}

// save writes a plot with its legend to the right of it.
func save(name string, p *plot.Plot, legend plot.Legend) error {
	canvas := vgsvg.New(plotWidth, plotHeight)
	dc := draw.New(canvas)
	dc.FillPolygon(color.White, []vg.Point{
		{X: 0, Y: 0},
		{X: plotWidth, Y: 0},
		{X: plotWidth, Y: plotHeight},
		{X: 0, Y: plotHeight},
	})
	p.Draw(draw.Crop(dc, margin, -legendWidth, margin, -margin))
	legend.Top, legend.Left = true, true
	legend.Padding = vg.Points(2)
	legend.Draw(draw.Crop(dc, plotWidth-legendWidth+vg.Points(6), 0, vg.Points(30), -vg.Points(30)))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	text := bytes.ReplaceAll(svg.Bytes(), []byte(fontName), []byte(fontNames))
	return os.WriteFile(name, text, 0o644)
}

// fileWord makes a column's title fit for the name of a file.
func fileWord(column string) string {
	return strings.NewReplacer(" µs", "", "/", "-per-", " ", "-").Replace(strings.ToLower(column))
}

// lineStyle tells the peers apart: FlyRPC's lines are thick, those that know no calls are dashed.
func lineStyle(i int, p peers.Peer) draw.LineStyle {
	colors := palette()
	style := draw.LineStyle{Color: colors[i%len(colors)], Width: vg.Points(1)}
	if strings.HasPrefix(p.Name, "flyrpc") {
		style.Width = vg.Points(2)
	}
	if p.Raw {
		style.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	return style
}

// growthStyle tells the lines of a plot of growth apart.
func growthStyle(i int) draw.LineStyle {
	colors := palette()
	return draw.LineStyle{Color: colors[[]int{3, 8, 11}[i%3]], Width: vg.Points(2)}
}

// palette has a colour for each peer, in their order: grey for the raw ones, blue for FlyRPC's.
func palette() []color.Color {
	return []color.Color{
		color.RGBA{0x88, 0x88, 0x88, 0xff},
		color.RGBA{0x44, 0x44, 0x44, 0xff},
		color.RGBA{0x1f, 0x5f, 0xbf, 0xff},
		color.RGBA{0x0b, 0x2f, 0x7a, 0xff},
		color.RGBA{0x5c, 0xa8, 0xe8, 0xff},
		color.RGBA{0x3c, 0x86, 0xd0, 0xff},
		color.RGBA{0x5e, 0x4f, 0xc9, 0xff},
		color.RGBA{0x35, 0x2a, 0x8f, 0xff},
		color.RGBA{0xd6, 0x27, 0x28, 0xff},
		color.RGBA{0xff, 0x7f, 0x0e, 0xff},
		color.RGBA{0x8c, 0x56, 0x4b, 0xff},
		color.RGBA{0x2c, 0xa0, 0x2c, 0xff},
		color.RGBA{0x98, 0xc8, 0x60, 0xff},
		color.RGBA{0xe3, 0x77, 0xc2, 0xff},
		color.RGBA{0x00, 0xa0, 0xa0, 0xff},
	}
}
