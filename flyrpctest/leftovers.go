package flyrpctest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// openCall is a call or message whose handler runs.
type openCall struct {
	path, at string
	began    time.Time
}

// openCalls are the handlers that run. The zero value has none.
type openCalls struct {
	mu   sync.Mutex
	open []*openCall
	none chan struct{} // closed when there are none; nil if nobody waits
}

func (o *openCalls) begin(c *openCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = append(o.open, c)
}

func (o *openCalls) end(c *openCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = slices.DeleteFunc(o.open, func(other *openCall) bool { return other == c })
	if len(o.open) == 0 && o.none != nil {
		close(o.none)
		o.none = nil
	}
}

// wait waits until no handler runs, for Grace, and returns those that still do.
func (o *openCalls) wait() []*openCall {
	o.mu.Lock()
	if len(o.open) == 0 {
		o.mu.Unlock()
		return nil
	}
	none := make(chan struct{})
	o.none = none
	o.mu.Unlock()
	timer := time.NewTimer(Grace)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.open)
}

// describe lists calls, one a line.
func describe(calls []*openCall) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "\t%s, which %s has been handling for %v\n", c.path, c.at, time.Since(c.began).Round(time.Millisecond))
	}
	return b.String()
}

// watch returns a middleware that knows the handlers that run, at the server or a client, for the
// connections that are the Host's, and marks their goroutines.
func (h *Host) watch(at string, mine func(*flyrpc.Conn) bool) flyrpc.Middleware {
	return func(next flyrpc.Handler) flyrpc.Handler {
		return func(ctx *flyrpc.Context) (any, error) {
			if !mine(ctx.Conn()) {
				return next(ctx)
			}
			call := &openCall{ctx.Path(), at, time.Now()}
			h.calls.begin(call)
			defer h.calls.end(call)
			pprof.SetGoroutineLabels(h.labels)
			// An Inline handler may run on a goroutine of the test, which isn't to stay marked.
			defer pprof.SetGoroutineLabels(context.Background())
			return next(ctx)
		}
	}
}

// accepts reports whether c is a connection that the Host has accepted: its server may have others.
func (h *Host) accepts(c *flyrpc.Conn) bool {
	addr, ok := c.LocalAddr().(hostAddr)
	return ok && addr.host == h
}

// markKey is the pprof label that marks a Host's goroutines.
const markKey = "flyrpctest"

// newMark returns what marks a Host's goroutines: pprof's labels, and their value, which no other
// Host has.
func newMark(t testing.TB, h *Host) (labels context.Context, mark string) {
	mark = fmt.Sprintf("%s %p", t.Name(), h)
	return pprof.WithLabels(context.Background(), pprof.Labels(markKey, mark)), mark
}

// awaitGoroutines waits until no goroutine has the mark, for Patience, and returns the stacks of those
// that still have it, "" for none.
func awaitGoroutines(mark string) string {
	end := time.Now().Add(Patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left := marked(mark)
		if left == "" || !time.Now().Before(end) {
			return left
		}
		time.Sleep(pause)
	}
}

// marked returns the stacks of the goroutines that have the mark.
func marked(mark string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return fmt.Sprintf("\tthe goroutines can't be listed: %v\n", err)
	}
	return pick(profile.String(), mark)
}

// A goroutine profile has a paragraph for the goroutines with one stack:
//
//	1 @ 0x47 0x50
//	# labels: {"flyrpctest":"TestX 0xc000"}
//	#	0x46	main.f+0x10	/src/main.go:20
func pick(profile, mark string) string {
	label := fmt.Sprintf("%q:%q", markKey, mark)
	frame := regexp.MustCompile(`(?m)^#\t0x[0-9a-f]+\t(\S+)\+0x[0-9a-f]+\s+(.*)$`)
	var b strings.Builder
	for paragraph := range strings.SplitSeq(profile, "\n\n") {
		if !strings.Contains(paragraph, label) {
			continue
		}
		count, _, _ := strings.Cut(strings.TrimSpace(paragraph), " ")
		fmt.Fprintf(&b, "\t%s of\n", count)
		for _, m := range frame.FindAllStringSubmatch(paragraph, -1) {
			fmt.Fprintf(&b, "\t\t%s\n\t\t\t%s\n", m[1], m[2])
		}
	}
	return b.String()
}
