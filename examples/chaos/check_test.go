package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-flyrpc/flyrpc"
)

// truth is what an honest client has in its journal, and honest servers in their records: one entry of each kind and end.
func truth() ([]*entry, records) {
	lost := errors.New("lost")
	entries := []*entry{
		{kind: call, sum: 1, answer: answer{"a/1/1", 1}},
		{kind: call, sum: 2, err: lost, outcome: flyrpc.NotSent},
		{kind: call, sum: 3, err: lost, outcome: flyrpc.NotProcessed},
		{kind: call, sum: 4, err: lost, outcome: flyrpc.Unknown}, // executed
		{kind: call, sum: 5, err: lost, outcome: flyrpc.Unknown}, // and not
		{kind: again, sum: 6, answer: answer{"b/1/2", 6}},        // executed twice
		{kind: tell, sum: 7}, // executed
		{kind: tell, sum: 8}, // and not
		{kind: watch, sum: 9, received: watched, answer: answer{"a/1/4", 9}},
		{kind: watch, sum: 10, received: 3, err: lost, outcome: flyrpc.Unknown},
		{kind: resume, sum: 11, received: watched, answer: answer{"b/1/3", 11}},
		{kind: upload, sum: 12, answer: answer{"a/1/6", 12}},
	}
	for _, e := range entries {
		e.ended = true
	}
	return entries, records{
		1: {{"a/1/1", call, 1, 1}}, 4: {{"b/1/1", call, 4, 4}},
		6: {{"a/1/2", again, 6, 6}, {"b/1/2", again, 6, 6}}, 7: {{"a/1/3", tell, 7, 7}},
		9: {{"a/1/4", watch, 9, 9}}, 10: {{"a/1/5", watch, 10, 10}},
		11: {{"a/1/7", resume, 11, 11}, {"b/1/3", resume, 11, 11}}, 12: {{"a/1/6", upload, 12, 12}},
	}
}

func TestTruth(t *testing.T) {
	entries, executed := truth()
	if problems := check(entries, executed); len(problems) > 0 {
		t.Errorf("the truth is doubted: %q", problems)
	}
}

// Each falsification of the truth is found.
func TestFalsified(t *testing.T) {
	failed := errors.New("failed")
	for _, test := range []struct {
		name, want string
		falsify    func(entries []*entry, executed records)
	}{
		{"executed though NotSent", "call 2: is said to be NotSent (lost), and was executed: a/1/9", func(_ []*entry, r records) {
			r[2] = []record{{"a/1/9", call, 2, 2}}
		}},
		{"executed though NotProcessed", "call 3: is said to be NotProcessed (lost), and was executed: a/1/9", func(_ []*entry, r records) {
			r[3] = []record{{"a/1/9", call, 3, 3}}
		}},
		{"executed twice", "call 1: was executed 2 times: a/1/1, c/1/1", func(_ []*entry, r records) {
			r[1] = append(r[1], record{"c/1/1", call, 1, 1})
		}},
		{"executed twice and lost", "call 4: was executed 2 times: b/1/1, c/1/1", func(_ []*entry, r records) {
			r[4] = append(r[4], record{"c/1/1", call, 4, 4})
		}},
		{"a message executed twice", "tell 7: was executed 2 times: a/1/3, a/2/3", func(_ []*entry, r records) {
			r[7] = append(r[7], record{"a/2/3", tell, 7, 7})
		}},
		{"a stream opened twice", "watch 10: was executed 2 times: a/1/5, a/2/3", func(_ []*entry, r records) {
			r[10] = append(r[10], record{"a/2/3", watch, 10, 10})
		}},
		{"answered and not executed", `call 1: was answered by "a/1/1", and was executed as ""`, func(_ []*entry, r records) { delete(r, 1) }},
		{"the answer of another execution", `call 1: was answered by "b/1/1", and was executed as "a/1/1"`, func(e []*entry, _ records) {
			e[0].answer.Exec = "b/1/1"
		}},
		{"no answer at all", `upload 12: was answered by "", and was executed as "a/1/6"`, func(e []*entry, _ records) { e[11].answer.Exec = "" }},
		{"the answer of other bytes", "call 1: the answer has the sum 7, and 1 was sent", func(e []*entry, _ records) { e[0].answer.Sum = 7 }},
		{"other bytes executed", "call 4: was executed as call b/1/1 with the sum 7, and was sent with the sum 4", func(_ []*entry, r records) { r[4][0].Sum = 7 }},
		{"another kind executed", "call 4: was executed as tell b/1/1 with the sum 4, and was sent with the sum 4", func(_ []*entry, r records) { r[4][0].Kind = tell }},
		{"nobody has asked", "call was executed as a/1/9, and nobody has asked for 99", func(_ []*entry, r records) { r[99] = []record{{"a/1/9", call, 99, 1}} }},
		{"not ended", "call 4: has not ended", func(e []*entry, _ records) { e[3].ended = false }},
		{"idempotent failed", "again 6: has failed, and could have been repeated: failed (Unknown)", func(e []*entry, _ records) { e[5].err = failed }},
		{"idempotent not sent", "again 6: has failed, and could have been repeated: failed (NotSent)", func(e []*entry, r records) {
			e[5].err, e[5].outcome = failed, flyrpc.NotSent
			delete(r, 6)
		}},
		{"a stream that resumes failed", "resume 11: has failed, and could have been repeated: failed (Unknown)", func(e []*entry, _ records) { e[10].err = failed }},
		{"answered by nobody", "call 1: was answered by no handler: failed", func(e []*entry, _ records) { e[0].err, e[0].outcome = failed, flyrpc.Answered }},
		{"items lost", "watch 9: 59 items have come of 60, and it has ended well", func(e []*entry, _ records) { e[8].received-- }},
		{"items out of order", "resume 11: item 3 has come after 2 items", func(e []*entry, _ records) { e[10].gap = "item 3 has come after 2 items" }},
		{"items of a stream that was not sent", "watch 10: is said to be NotSent (lost), and 3 items have come", func(e []*entry, r records) {
			e[9].outcome = flyrpc.NotSent
			delete(r, 10)
		}},
	} {
		entries, executed := truth()
		test.falsify(entries, executed)
		if problems := check(entries, executed); !slices.Equal(problems, []string{test.want}) {
			t.Errorf("%s: the problems are %q, want %q", test.name, problems, test.want)
		}
	}
}

// Without faults more has to hold.
func TestOrderly(t *testing.T) {
	refused := errors.New("shutting down")
	entries := []*entry{
		{kind: call}, {kind: tell}, {kind: watch, err: refused, outcome: flyrpc.NotProcessed}, {kind: upload, err: refused, outcome: flyrpc.NotSent},
	}
	executed := records{2: {{"a/1/1", tell, 2, 0}}}
	if problems := checkOrderly(entries, executed); len(problems) > 0 {
		t.Errorf("the truth is doubted: %q", problems)
	}
	entries = append(entries, &entry{kind: call, err: refused, outcome: flyrpc.NotProcessed}, &entry{kind: watch, err: refused, outcome: flyrpc.Unknown})
	delete(executed, 2)
	want := []string{
		"tell 2: was never executed though no server was killed",
		"call 5: has failed though no server was killed: shutting down (NotProcessed)",
		"watch 6: has failed though no server was killed: shutting down (Unknown)",
	}
	if problems := checkOrderly(entries, executed); !slices.Equal(problems, want) {
		t.Errorf("the problems are %q, want %q", problems, want)
	}
}

// An error that a handler was asked for is an answer; any other one isn't.
func TestJournal(t *testing.T) {
	var j journal
	e := &entry{kind: call, refuse: true}
	if id := j.begin(e); id != 1 || j.open() != 1 {
		t.Errorf("the first ID is %d, and %d are open", id, j.open())
	}
	j.end(e, flyrpc.Errorf(flyrpc.Conflict, "made up here"), answer{})
	if all := j.all(); len(all) != 1 || all[0].err == nil || !all[0].ended || j.open() != 0 {
		t.Errorf("the entry is %+v", all[0])
	}
}

func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	for life, id := range []uint64{1, 1, 3} {
		r, err := openRecorder(path, []string{"a/1", "a/2", "a/3"}[life])
		if err != nil {
			t.Fatal(err)
		}
		if exec, err := r.write(again, id, 7); err != nil || exec != r.life+"/1" {
			t.Errorf("the execution is %s, %v", exec, err)
		}
		r.file.Close()
	}
	all := records{}
	if err := all.read(path); err != nil {
		t.Fatal(err)
	}
	if names(all[1]) != "a/1/1, a/2/1" || names(all[3]) != "a/3/1" || len(all) != 2 || all[3][0] != (record{"a/3/1", again, 3, 7}) {
		t.Errorf("the records are %v", all)
	}
	for _, cut := range []string{"a/3/2 again", "a/3/2 again 4", "a/3/2 again 4 x\n", "\n"} {
		if err := os.WriteFile(path, []byte(cut), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (records{}).read(path); err == nil || !strings.Contains(err.Error(), "expected a record") {
			t.Errorf("%q: %v", cut, err)
		}
	}
	if err := (records{}).read(path + "x"); err == nil {
		t.Error("a file that isn't there is read")
	}
}
