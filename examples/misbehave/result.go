package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// result is what a run has found out.
type result struct {
	rounds []round
	chosen []way
	ways   []*account // of those chosen, in their order
	lost   int        // good connections that have ended
	after  *state     // of the server, when only the good ones are left
}

// round is both parts, measured one after the other.
type round struct{ without, with *part }

// account is what became of the connections that misbehave in one way.
type account struct {
	way
	conns   int            // how many there were
	cut     int            // of them, how many have ended before the time was up
	reasons map[string]int // why, as the server says
}

// settle waits until the server has only its good connections left, and finds out what it did with the others.
func (r *result) settle(ctx context.Context, srv *server, b *book, good int, rest time.Duration) error {
	var err error
	if r.after, err = done(ctx, srv, good, rest); err != nil {
		return err
	}
	accounts := map[string]*account{}
	for _, w := range r.chosen {
		a := &account{way: w, reasons: map[string]int{}}
		r.ways, accounts[w.name] = append(r.ways, a), a
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr, sessions := range b.sessions {
		reasons := r.after.Ended[addr]
		for i, s := range sessions {
			reason := "" // it hasn't ended
			if i < len(reasons) {
				reason = reasons[i]
			}
			switch a := accounts[s.Name]; {
			case a != nil:
				a.add(s, reason)
			case s.Name == "good" && reason != "":
				r.lost++
			}
		}
	}
	return nil
}

// done waits until the server has no more than so many connections, and for rest until it has hardly more goroutines:
// idle workers end after a while. It returns the server's state.
func done(ctx context.Context, srv *server, conns int, rest time.Duration) (*state, error) {
	const others = 50 // goroutines that are there for no connection
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		time.Sleep(beat) // for what it may still have to enter
		s, err := srv.state(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("waiting for the server to be done with bad connections: %w", err)
		case s.Conns <= conns && (s.Goroutines <= conns+others || time.Since(begin) > rest):
			return s, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("the server holds %d connections, of which %d are good", s.Conns, conns)
		}
	}
}

// add counts a connection.
func (a *account) add(s *session, reason string) {
	a.conns++
	if !s.Left {
		a.cut++
		a.reasons[cmp.Or(reason, "the server doesn't know of it")]++
	}
}

// verdict says what is wrong, if the 99th percentile of the times from when calls are begun may be most times what it is
// without bad clients.
func (r *result) verdict(most float64) error {
	var errs []error
	for _, round := range r.rounds {
		errs = append(errs, round.without.verdict(), round.with.verdict())
	}
	if r.lost > 0 {
		errs = append(errs, fmt.Errorf("%d good connections were lost", r.lost))
	}
	for _, a := range r.ways {
		if a.way.cut && a.conns > 0 && a.cut == 0 {
			errs = append(errs, fmt.Errorf("%s: none of %d was cut", a.name, a.conns))
		}
	}
	if ratio := median(r.ratios((*part).fromBegun, 0.99)); most > 0 && ratio > most {
		errs = append(errs, fmt.Errorf("the 99th percentile from when calls are begun is %.1f times what it is without bad clients, at most %g are allowed", ratio, most))
	}
	return errors.Join(errs...)
}

// verdict says what is wrong with the calls of a part.
func (p *part) verdict() error {
	var errs []error
	if p.failed > 0 {
		errs = append(errs, fmt.Errorf("%d good calls have failed, the first with %w", p.failed, p.first))
	}
	if p.held > 0 {
		errs = append(errs, fmt.Errorf("%d good calls had to wait until fewer than %d were open, so their times are too short", p.held, maxOpen))
	}
	return errors.Join(errs...)
}

// fromDue and fromBegun are what ratios are made of.
func (p *part) fromDue() []time.Duration   { return p.due }
func (p *part) fromBegun() []time.Duration { return p.begun }

// ratios compares a quantile of both parts of each round.
func (r *result) ratios(of func(*part) []time.Duration, q float64) (all []float64) {
	for _, round := range r.rounds {
		all = append(all, float64(quantile(of(round.with), q))/float64(max(quantile(of(round.without), q), 1)))
	}
	return all
}

// median returns the middle one, or the mean of the two in the middle.
func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// print prints what was measured.
func (p *part) print(out io.Writer, what string) {
	row := func(name string, times []time.Duration) {
		us := func(q float64) int64 { return quantile(times, q).Microseconds() }
		fmt.Fprintf(out, "    %-11s p50 %7d µs  p99 %7d µs  p99.9 %7d µs\n", name, us(0.5), us(0.99), us(0.999))
	}
	fmt.Fprintf(out, "%s: %d calls, %d failed\n", what, len(p.due)+p.failed, p.failed)
	row("from due", p.due)
	row("begun late", p.late)
	row("from begun", p.begun)
	fmt.Fprintf(out, "    server: %d connections, at most %.0f MiB\n", p.conns, float64(p.peak)/(1<<20))
}

// print prints what the server did.
func (r *result) print(out io.Writer) {
	fmt.Fprintln(out, "\nwith bad ones, times what it is without: the median of the rounds, and in brackets the least and the most")
	for _, row := range []struct {
		name string
		of   func(*part) []time.Duration
	}{{"from due", (*part).fromDue}, {"from begun", (*part).fromBegun}} {
		fmt.Fprintf(out, "    %-11s", row.name)
		for i, q := range []float64{0.5, 0.99, 0.999} {
			all := r.ratios(row.of, q)
			fmt.Fprintf(out, " %s %.1f (%.1f to %.1f)", []string{"p50", "p99", "p99.9"}[i], median(all), slices.Min(all), slices.Max(all))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "good connections lost: %d; the server has %d connections and %d goroutines left\n\n", r.lost, r.after.Conns, r.after.Goroutines)
	for _, a := range r.ways {
		fmt.Fprintf(out, "%s: %d connections, %d ended, %d open in the end\n", a.name, a.conns, a.cut, a.conns-a.cut)
		counts(out, a.reasons)
	}
	fmt.Fprintln(out, "calls and messages that ended with an error, by path and code:")
	counts(out, r.after.Failed)
}

// counts prints how often there was what, the most frequent first.
func counts(out io.Writer, n map[string]int) {
	for _, what := range slices.SortedFunc(maps.Keys(n), func(x, y string) int {
		return cmp.Or(cmp.Compare(n[y], n[x]), cmp.Compare(x, y))
	}) {
		fmt.Fprintf(out, "%8d  %s\n", n[what], what)
	}
}
