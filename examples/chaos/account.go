package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-flyrpc/flyrpc"
)

// row counts how what was asked for has ended, and in how many executions.
type row struct {
	ends       [4]int // by Delivery, of those that have failed
	succeeded  int
	executions [3]int // none, one, several
}

// account counts by kind, and how often what has failed with an unknown outcome was executed.
func account(entries []*entry, executed records) map[kind]*row {
	rows := map[kind]*row{}
	for _, k := range kinds() {
		rows[k] = new(row)
	}
	for i, e := range entries {
		if e == nil {
			continue
		}
		r := rows[e.kind]
		if e.err == nil {
			r.succeeded++
		} else {
			r.ends[e.outcome]++
		}
		r.executions[min(2, len(executed[uint64(i+1)]))]++
	}
	return rows
}

// printAccount prints them.
func printAccount(out io.Writer, rows map[kind]*row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tended well\t%v\t%v\t%v\tnever executed\tonce\tmore often\t\n", flyrpc.NotSent, flyrpc.NotProcessed, flyrpc.Unknown)
	for _, k := range kinds() {
		r := rows[k]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k, r.succeeded,
			r.ends[flyrpc.NotSent], r.ends[flyrpc.NotProcessed], r.ends[flyrpc.Unknown], r.executions[0], r.executions[1], r.executions[2])
	}
	w.Flush()
}

// printReasons prints why things have failed, the most frequent reason first.
func printReasons(out io.Writer, entries []*entry) {
	varies := regexp.MustCompile(`[0-9.]+:[0-9]+|0x[0-9a-f]+|[0-9.]+m?s|[0-9]+`)
	count := map[string]int{}
	for _, e := range entries {
		if e != nil && e.err != nil {
			count[fmt.Sprintf("%s, %v: %s", e.kind, e.outcome, varies.ReplaceAllString(e.err.Error(), "..."))]++
		}
	}
	reasons := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})
	for _, reason := range reasons[:min(shown, len(reasons))] {
		fmt.Fprintf(out, "%6d × %s\n", count[reason], reason)
	}
}

// print prints what the nemesis has done.
func (n *nemesis) print(out io.Writer) {
	what := "killed"
	if n.orderly {
		what = "shut down"
	}
	fmt.Fprintf(out, "%d processes were %s and started again", n.kills, what)
	if n.moves > 0 {
		fmt.Fprintf(out, ", the addresses have changed %d times", n.moves)
	}
	for _, name := range slices.Sorted(maps.Keys(n.faults)) {
		fmt.Fprintf(out, ", %s ×%d", name, n.faults[name])
	}
	fmt.Fprintln(out)
}
