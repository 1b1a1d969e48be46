package main

import (
	"context"
	"log/slog"
	"maps"
	"regexp"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// state is what the server says of itself.
type state struct {
	Conns      int                 // open connections
	Goroutines int                 // of the process
	Peak       uint64              // the most memory since the last question, in bytes
	Ended      map[string][]string // why connections have ended, by their clients' addresses, in their order
	Failed     map[string]int      // how many calls and messages have ended with an error, by path and code
}

// stateOf returns the state of a server.
func stateOf(srv *flyrpc.Server, l *ledger, peak *memory) *state {
	ended, failed := l.copy()
	return &state{len(srv.Conns()), runtime.NumGoroutine(), peak.take(), ended, failed}
}

// ledger keeps why connections have ended, and calls failed. It is the slog.Handler of the server, whose log has the
// ends of all connections.
type ledger struct {
	mu     sync.Mutex
	ended  map[string][]string
	failed map[string]int
	noted  map[uint64]string // why the program itself closes connections, by their IDs
	varies *regexp.Regexp    // what differs from one reason to another of the same kind
}

func newLedger() *ledger {
	return &ledger{
		ended: map[string][]string{}, failed: map[string]int{}, noted: map[uint64]string{},
		varies: regexp.MustCompile(`\b\d+\b|0x[0-9a-f]+|".*"`),
	}
}

// note says why the program itself is about to close a connection.
func (l *ledger) note(conn *flyrpc.Conn, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted[conn.ID()] = reason
}

// fail counts a call or message that has ended with an error.
func (l *ledger) fail(path string, code flyrpc.Code) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[path+" "+string(code)]++
}

// Handle takes a line of the log: those with peer and reason tell the end of a connection.
func (l *ledger) Handle(_ context.Context, r slog.Record) error {
	var peer, reason string
	var conn uint64
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "conn":
			if a.Value.Kind() == slog.KindUint64 {
				conn = a.Value.Uint64()
			}
		case "peer":
			peer = a.Value.String()
		case "reason":
			reason = a.Value.String()
		}
		return true
	})
	if peer == "" || reason == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if noted, ok := l.noted[conn]; ok {
		delete(l.noted, conn)
		l.ended[peer] = append(l.ended[peer], noted)
		return nil
	}
	l.ended[peer] = append(l.ended[peer], l.short(reason))
	return nil
}

// short returns a reason without what differs from connection to connection.
func (l *ledger) short(reason string) string {
	switch {
	case reason == "EOF":
		return "the client has closed it"
	case strings.HasSuffix(reason, "connection reset by peer"), strings.HasSuffix(reason, "broken pipe"):
		return "the client has reset it"
	}
	reason = strings.TrimPrefix(reason, "flyrpc: ")
	for _, detail := range []string{": read tcp", ": write tcp", ": writev tcp"} {
		reason, _, _ = strings.Cut(reason, detail)
	}
	return l.varies.ReplaceAllString(reason, "...")
}

// copy returns all that the ledger has.
func (l *ledger) copy() (ended map[string][]string, failed map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ended = maps.Clone(l.ended)
	for peer, reasons := range ended {
		ended[peer] = slices.Clone(reasons)
	}
	return ended, maps.Clone(l.failed)
}

// Enabled has all lines come to Handle.
func (l *ledger) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs returns the ledger, as what it needs is in the lines themselves.
func (l *ledger) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup returns the ledger.
func (l *ledger) WithGroup(string) slog.Handler { return l }

// memory looks at the memory of the process now and then.
type memory struct {
	mu   sync.Mutex
	most uint64
	stop func()
}

// watchMemory begins to look.
func watchMemory() *memory {
	ctx, cancel := context.WithCancel(context.Background())
	m := &memory{stop: cancel}
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			m.look()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return m
}

// look keeps the memory that Go has from the system now, if it is the most.
func (m *memory) look() {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = max(m.most, s[0].Value.Uint64()-s[1].Value.Uint64())
}

// take returns the most since it was last called.
func (m *memory) take() uint64 {
	m.look()
	m.mu.Lock()
	defer m.mu.Unlock()
	most := m.most
	m.most = 0
	return most
}
