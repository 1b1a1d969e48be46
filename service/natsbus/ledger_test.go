package natsbus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The kinds of messages that are recorded.
const (
	kindBroadcast = "broadcast" // each instance has it exactly once
	kindQueue     = "queue"     // one instance has it exactly once
	kindRequest   = "request"   // the instance that has answered has it
	kindDurable   = "durable"   // at least one instance has it
	kindOther     = "other"     // nothing was promised: its sender knows of no success
)

// event is that an instance has handled a message.
type event struct{ Kind, ID, Instance string }

// ledger is what the senders know: what was acknowledged, by its kind and id. The value is the instance that has answered a request.
type ledger struct {
	mu    sync.Mutex
	acked map[string]map[string]string
}

// add notes that a message was sent, if its kind is kindOther, and else acknowledged.
func (l *ledger) add(kind, id, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == nil {
		l.acked = map[string]map[string]string{}
	}
	if l.acked[kind] == nil {
		l.acked[kind] = map[string]string{}
	}
	l.acked[kind][id] = by
}

// count returns how many messages of a kind were acknowledged.
func (l *ledger) count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked[kind])
}

// check compares what was acknowledged with what was handled, and says all that is wrong.
func (l *ledger) check(events []event, instances []string) (problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	handled := map[string]map[string]map[string]int{} // kind, id, instance
	for _, e := range events {
		if handled[e.Kind] == nil {
			handled[e.Kind] = map[string]map[string]int{}
		}
		if handled[e.Kind][e.ID] == nil {
			handled[e.Kind][e.ID] = map[string]int{}
		}
		handled[e.Kind][e.ID][e.Instance]++
		if !l.sent(e.ID) {
			problems = append(problems, fmt.Sprintf("%s has handled %s %s, which nobody has sent", e.Instance, e.Kind, e.ID))
		}
	}
	wrong := func(kind, id, want string) {
		problems = append(problems, fmt.Sprintf("%s %s was handled by %v, not %s", kind, id, handled[kind][id], want))
	}
	for id := range l.acked[kindBroadcast] {
		for _, instance := range instances {
			if n := handled[kindBroadcast][id][instance]; n != 1 {
				wrong(kindBroadcast, id, "once by "+instance)
			}
		}
	}
	for id := range l.acked[kindQueue] {
		if by := slices.Collect(maps.Values(handled[kindQueue][id])); len(by) != 1 || by[0] != 1 {
			wrong(kindQueue, id, "by one, once")
		}
	}
	for id, by := range l.acked[kindRequest] {
		if handled[kindRequest][id][by] == 0 {
			wrong(kindRequest, id, "by "+by+", which has answered")
		}
	}
	for id := range l.acked[kindDurable] {
		if len(handled[kindDurable][id]) == 0 {
			wrong(kindDurable, id, "at all, and was acknowledged")
		}
	}
	return problems
}

// sent reports whether an id was ever sent.
func (l *ledger) sent(id string) bool {
	for _, ids := range l.acked {
		if _, ok := ids[id]; ok {
			return true
		}
	}
	return false
}

// readEvents reads what instances have written: one event a line. The last line of one that was killed may be cut.
func readEvents(names ...string) (events []event, err error) {
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			var e event
			if err := json.Unmarshal(line, &e); err != nil && bytes.HasSuffix(line, []byte("\n")) {
				return nil, fmt.Errorf("%s: %w", name, err)
			} else if err == nil {
				events = append(events, e)
			}
		}
	}
	return events, nil
}

// The check finds what is wrong with a record, and nothing where nothing is.
func TestLedger(t *testing.T) {
	var l ledger
	instances := []string{"one", "two"}
	right := []event{
		{kindBroadcast, "b", "one"},
		{kindBroadcast, "b", "two"},
		{kindQueue, "q", "two"},
		{kindRequest, "r", "one"},
		{kindRequest, "r", "two"}, // sent again by its caller, perhaps
		{kindDurable, "d", "one"},
		{kindDurable, "d", "one"},
		{kindRequest, "failed", "one"}, // nobody was told
	}
	l.add(kindBroadcast, "b", "")
	l.add(kindQueue, "q", "")
	l.add(kindRequest, "r", "two")
	l.add(kindDurable, "d", "")
	l.add(kindOther, "failed", "")
	for _, tt := range []struct {
		name   string
		events []event
		want   []string // in the problems, one each
	}{
		{"right", right, nil},
		{"a durable message is lost", without(right, kindDurable, ""), []string{"durable d"}},
		{"an acknowledged request is lost", without(right, kindRequest, ""), []string{"request r"}},
		{"the one that has answered has not handled it", without(right, kindRequest, "two"), []string{"by two"}},
		{"a broadcast misses one", without(right, kindBroadcast, "two"), []string{"once by two"}},
		{"a broadcast comes twice", append(right[:len(right):len(right)], event{kindBroadcast, "b", "one"}), []string{"once by one"}},
		{"a message for one is lost", without(right, kindQueue, ""), []string{"queue q"}},
		{"a message for one goes to two", append(right[:len(right):len(right)], event{kindQueue, "q", "one"}), []string{"queue q"}},
		{"a message for one comes twice", append(right[:len(right):len(right)], event{kindQueue, "q", "two"}), []string{"queue q"}},
		{"a message that nobody has sent", append(right[:len(right):len(right)], event{kindDurable, "x", "one"}), []string{"durable x"}},
		{"nothing at all", nil, []string{"once by one", "once by two", "queue q", "request r", "durable d"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := l.check(tt.events, instances)
			if len(problems) != len(tt.want) {
				t.Fatalf("found %q", problems)
			}
			for i, want := range tt.want {
				if !strings.Contains(problems[i], want) {
					t.Errorf("found %q, want %q in it", problems[i], want)
				}
			}
		})
	}
}

// without returns the events but those of a kind and, unless it is empty, an instance.
func without(events []event, kind, instance string) []event {
	return slices.DeleteFunc(slices.Clone(events), func(e event) bool {
		return e.Kind == kind && e.ID != "failed" && (instance == "" || e.Instance == instance)
	})
}

func TestReadEvents(t *testing.T) {
	name := t.TempDir() + "/events"
	for text, want := range map[string]int{
		"": 0, `{"Kind":"a"}` + "\n" + `{"Ki`: 1, `{"Kind":"a"}` + "\n" + `{"Kind":"b"}` + "\n": 2, "{\n{}\n": -1,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		events, err := readEvents(name)
		if err != nil != (want < 0) || err == nil && len(events) != want {
			t.Errorf("%q: got %v, %v", text, events, err)
		}
	}
	if _, err := readEvents(name + "x"); err == nil {
		t.Error("a file that isn't there was read")
	}
}
