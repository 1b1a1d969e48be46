//go:build unix

package main

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test program is its children as well, as the program starts what it is itself.
func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// Good calls all succeed beside connections that misbehave in every way, and the server gets rid of those.
// What that costs in time isn't looked at. The parts may be short: the end waits until each bad client has had what it is
// there for once.
func TestMisbehaviour(t *testing.T) {
	r, err := run(t.Context(), config{
		conns: 200, bad: 18, rate: 100, rounds: 2, warm: time.Second, measure: time.Second, patience: time.Second, gogc: "100",
	}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(0); err != nil {
		t.Error(err)
	}
	if len(r.rounds) != 2 {
		t.Fatalf("%d rounds were measured, want 2", len(r.rounds))
	}
	for _, round := range r.rounds {
		if n := len(round.with.begun); n != 100 {
			t.Errorf("%d good calls were answered, want 100", n)
		}
	}
	if r.after.Conns != 164 {
		t.Errorf("the server has %d connections in the end, want the 164 good ones", r.after.Conns)
	}
	for _, a := range r.ways {
		if a.conns < 4 {
			t.Errorf("%s: only %d connections", a.name, a.conns)
		}
		if n := a.reasons["the server doesn't know of it"]; n > 0 {
			t.Errorf("%s: the server doesn't know of the end of %d connections", a.name, n)
		}
		if reason := wanted()[a.name]; reason != "" && a.reasons[reason] == 0 {
			t.Errorf("%s: no connection has ended because %s: %v", a.name, reason, a.reasons)
		}
	}
	for _, failure := range []string{"/ticks TIMEOUT", "/slow CANCELED"} {
		if r.after.Failed[failure] == 0 {
			t.Errorf("no call has ended with %s: %v", failure, r.after.Failed)
		}
	}
}

// wanted returns a reason why connections end that misbehave in a way.
func wanted() map[string]string {
	return map[string]string{
		"silent from the start": "the first packet was not complete within 1s",
		"slow hello":            "the first packet was not complete within 1s",
		"calls and never reads": "the peer has read nothing for 1s",

		"dribbles a large packet": "UNAVAILABLE: a packet took longer than ReadTimeout (1s for each ... KiB) to come",
		"resets amid its calls":   "the client has reset it",
		"too large packets":       "payload is longer than the limit: ... bytes, at most ...",
	}
}
