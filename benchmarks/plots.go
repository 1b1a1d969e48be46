package main

import (
	"bytes"
	"fmt"
	"image/color"
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
			if len(group) < 2 {
				continue
			}
			if err := r.lines(dir, group, column); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups returns the settings that differ in callers or rate alone.
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
	c.Rate = 0
	if c.Part == partCalls {
		c.Callers = 0
	}
	return c
}

// along returns what lies along the x axis.
func along(c Case) float64 {
	if c.Part == partOpen {
		return float64(c.Rate)
	}
	return float64(c.Callers)
}

// lines draws a column of a group: a line for each peer, with its spreads.
func (r *results) lines(dir string, group []Case, column string) error {
	first := group[0]
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s of echo calls, %s, %s", column, sizeName(first.Size), processes(first.Mode))
	p.X.Label.Text, p.Y.Label.Text = "callers on one connection", column
	if first.Part == partOpen {
		p.Title.Text = column + " of echo calls at fixed rates, " + sizeName(first.Size)
		p.X.Label.Text = "calls/s"
	}
	p.X.Scale, p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Tick.Marker = ticks(group)
	p.Add(plotter.NewGrid())
	legend := plot.NewLegend()
	for i, peer := range peers.All() {
		points := r.points(group, peer.Name, column)
		if len(points.XYs) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		bars, err := plotter.NewYErrorBars(points)
		if err != nil {
			return err
		}
		line.LineStyle, bars.LineStyle = lineStyle(i, peer), lineStyle(i, peer)
		dots.Color, dots.Shape = line.Color, draw.CircleGlyph{}
		p.Add(line, dots, bars)
		legend.Add(peer.Name, line, dots)
	}
	name := strings.Join([]string{first.Part, first.Mode, sizeName(first.Size), fileWord(column)}, "-")
	return save(filepath.Join(dir, name+".svg"), p, legend)
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
	p := plot.New()
	p.Title.Text = "memory of an idle connection, of " + strconv.Itoa(setting.Conns)
	p.X.Label.Text = "bytes in use by Go"
	legend := plot.NewLegend()
	list := r.peersOf(setting)
	slices.Reverse(list) // the y axis goes upwards
	names := make([]string, len(list))
	for i, column := range []string{colClientGo, colServerGo} {
		values := make(plotter.Values, len(list))
		for j, peer := range list {
			s, _ := r.spread(setting, peer.Name, column)
			values[j], names[j] = s.median, peer.Name
		}
		chart, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return err
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, palette()[i+1], 0
		chart.Offset = barWidth * (vg.Length(i) - 0.5)
		p.Add(chart)
		legend.Add(column, chart)
	}
	p.NominalY(names...)
	return save(filepath.Join(dir, "idle.svg"), p, legend)
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

// ticks marks the numbers that were measured.
func ticks(group []Case) plot.ConstantTicks {
	var marks plot.ConstantTicks
	for _, c := range group {
		marks = append(marks, plot.Tick{Value: along(c), Label: strconv.FormatFloat(along(c), 'f', -1, 64)})
	}
	return marks
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
