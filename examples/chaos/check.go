package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-flyrpc/flyrpc"
)

// check compares what the client was told with what the servers have executed, and returns each lie and each broken promise.
func check(entries []*entry, executed records) (problems []string) {
	for i, e := range entries {
		id := uint64(i + 1)
		if e == nil {
			continue
		}
		for _, problem := range e.check(executed[id]) {
			problems = append(problems, fmt.Sprintf("%s %d: %s", e.kind, id, problem))
		}
	}
	for id, rs := range executed {
		if id == 0 || id > uint64(len(entries)) {
			problems = append(problems, fmt.Sprintf("%s was executed as %s, and nobody has asked for %d", rs[0].Kind, names(rs), id))
		}
	}
	slices.Sort(problems)
	return problems
}

// check compares one entry with its records.
func (e *entry) check(rs []record) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, r := range rs {
		if r.Kind != e.kind || r.Sum != e.sum {
			report("was executed as %s %s with the sum %d, and was sent with the sum %d", r.Kind, r.Exec, r.Sum, e.sum)
		}
	}
	if len(rs) > 1 && !e.repeatable() {
		report("was executed %d times: %s", len(rs), names(rs))
	}
	if !e.ended {
		report("has not ended")
		return problems
	}
	if e.gap != "" {
		report("%s", e.gap)
	}
	switch {
	case e.err == nil && e.kind != tell:
		problems = append(problems, e.checkAnswer(rs)...)
	case e.err == nil:
	case e.outcome == flyrpc.Answered && e.kind != hasty: // whose handler may say first that the time is up
		report("was answered by no handler: %v", e.err)
	case e.outcome == flyrpc.NotSent || e.outcome == flyrpc.NotProcessed:
		if len(rs) > 0 {
			report("is said to be %v (%v), and was executed: %s", e.outcome, e.err, names(rs))
		}
		if e.received > 0 {
			report("is said to be %v (%v), and %d items have come", e.outcome, e.err, e.received)
		}
	}
	if e.err != nil && e.repeatable() {
		report("has failed, and could have been repeated: %v (%v)", e.err, e.outcome)
	}
	return problems
}

// repeatable reports whether it may be executed more than once, so that it never has to fail.
func (e *entry) repeatable() bool { return e.kind == again || e.kind == resume }

// checkAnswer checks that the answer is that of one of the records.
func (e *entry) checkAnswer(rs []record) (problems []string) {
	if !slices.ContainsFunc(rs, func(r record) bool { return r.Exec == e.answer.Exec }) {
		problems = append(problems, fmt.Sprintf("was answered by %q, and was executed as %q", e.answer.Exec, names(rs)))
	}
	if e.answer.Sum != e.sum {
		problems = append(problems, fmt.Sprintf("the answer has the sum %d, and %d was sent", e.answer.Sum, e.sum))
	}
	if streams := e.kind == watch || e.kind == resume; streams && e.received != watched {
		problems = append(problems, fmt.Sprintf("%d items have come of %d, and it has ended well", e.received, watched))
	}
	return problems
}

// checkOrderly compares what must hold besides if servers were shut down in order and nothing was lost on the way: no call has failed, no
// message is missing, and streams were refused at worst.
func checkOrderly(entries []*entry, executed records) (problems []string) {
	for i, e := range entries {
		id := uint64(i + 1)
		if e == nil {
			continue
		}
		refused := e.outcome == flyrpc.NotSent || e.outcome == flyrpc.NotProcessed
		switch {
		case e.err != nil && e.kind != hasty && !(refused && (e.kind == watch || e.kind == upload)):
			problems = append(problems, fmt.Sprintf("%s %d: has failed though no server was killed: %v (%v)", e.kind, id, e.err, e.outcome))
		case e.kind == tell && len(executed[id]) == 0:
			problems = append(problems, fmt.Sprintf("%s %d: was never executed though no server was killed", e.kind, id))
		}
	}
	return problems
}

// names returns the executions.
func names(rs []record) string {
	var all []string
	for _, r := range rs {
		all = append(all, r.Exec)
	}
	return strings.Join(all, ", ")
}
