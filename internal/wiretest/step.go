package wiretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// stepKind says what a step does.
type stepKind string

// The kinds of steps, named as in the files.
const (
	stepSend      stepKind = "send"
	stepRecv      stepKind = "recv"
	stepAnyOrder  stepKind = "anyOrder"
	stepSendHello stepKind = "sendHello"
	stepRecvHello stepKind = "recvHello"
	stepClosed    stepKind = "closed"
	stepFence     stepKind = "fence"
	stepItems     stepKind = "items"
	stepJoined    stepKind = "joined"
	stepGranted   stepKind = "granted"
	stepPump      stepKind = "pump"
	stepOverdraw  stepKind = "overdraw"
)

// stepTime is how long a step may take that doesn't say.
const stepTime = 5 * time.Second

// step is one step of a scenario.
type step struct {
	kind   stepKind
	within time.Duration
	send   *spec
	want   []want
	fields fields
	seq    json.RawMessage // granted: a number or a name
	least  int             // granted: bytes
	until  size            // pump: bytes taken from the account
}

// rawStep is a step as it stands in a file: one of the fields but within is set.
type rawStep struct {
	Send      *spec        `json:"send"`
	Recv      *spec        `json:"recv"`
	AnyOrder  []spec       `json:"anyOrder"`
	SendHello *fields      `json:"sendHello"`
	RecvHello *fields      `json:"recvHello"`
	Closed    bool         `json:"closed"`
	Fence     bool         `json:"fence"`
	Items     *itemsSpec   `json:"items"`
	Joined    *spec        `json:"joined"`
	Granted   *grantedSpec `json:"granted"`
	Pump      *spec        `json:"pump"`
	Until     flexible     `json:"until"` // of pump
	Overdraw  *spec        `json:"overdraw"`
	Within    float64      `json:"within"` // seconds
}

// itemsSpec is several packets that differ in their bodies alone.
type itemsSpec struct {
	Flag   string            `json:"flag"`
	Seq    json.RawMessage   `json:"seq"`
	Meta   []metaSpec        `json:"meta"`
	Values []json.RawMessage `json:"values"` // JSON bodies
	Texts  []string          `json:"texts"`  // or these
	Count  int               `json:"count"`  // or the numbers from 1 to count, as JSON
}

// grantedSpec is the credit that is expected.
type grantedSpec struct {
	Seq   json.RawMessage `json:"seq"`
	Least int             `json:"least"`
}

// compile checks a step.
func (r *rawStep) compile() (st step, err error) {
	kinds := r.kinds()
	if len(kinds) != 1 {
		return st, fmt.Errorf("a step does one thing, not %v", kinds)
	}
	st = step{kind: kinds[0], within: stepTime}
	if r.Within != 0 {
		st.within = time.Duration(r.Within * float64(time.Second))
	}
	switch st.kind {
	case stepSend, stepOverdraw, stepPump:
		err = st.compileSend(r)
	case stepRecv, stepJoined, stepAnyOrder:
		err = st.compileWant(r)
	case stepItems:
		st.want, err = r.Items.wants()
	case stepSendHello:
		st.fields = *r.SendHello
	case stepRecvHello:
		st.fields = *r.RecvHello
		st.want, err = fieldWants(st.fields)
	case stepGranted:
		st.seq, st.least = r.Granted.Seq, r.Granted.Least
	}
	return st, err
}

// kinds returns what the step does.
func (r *rawStep) kinds() []stepKind {
	var kinds []stepKind
	for _, k := range []struct {
		kind stepKind
		is   bool
	}{
		{stepSend, r.Send != nil},
		{stepRecv, r.Recv != nil},
		{stepAnyOrder, r.AnyOrder != nil},
		{stepSendHello, r.SendHello != nil},
		{stepRecvHello, r.RecvHello != nil},
		{stepClosed, r.Closed},
		{stepFence, r.Fence},
		{stepItems, r.Items != nil},
		{stepJoined, r.Joined != nil},
		{stepGranted, r.Granted != nil},
		{stepPump, r.Pump != nil},
		{stepOverdraw, r.Overdraw != nil},
	} {
		if k.is {
			kinds = append(kinds, k.kind)
		}
	}
	return kinds
}

// compileSend checks a step that sends.
func (st *step) compileSend(r *rawStep) (err error) {
	st.send = map[stepKind]*spec{stepSend: r.Send, stepPump: r.Pump, stepOverdraw: r.Overdraw}[st.kind]
	if st.kind == stepPump {
		if st.until, err = parseSize(string(r.Until)); err != nil {
			return err
		}
	}
	if st.kind != stepSend && st.send.Bytes != "" {
		return errors.New("it takes a packet as an object")
	}
	_, err = st.send.outgoing(new(limits))
	return err
}

// compileWant checks a step that expects packets.
func (st *step) compileWant(r *rawStep) error {
	specs := r.AnyOrder
	switch {
	case r.Recv != nil:
		specs = []spec{*r.Recv}
	case r.Joined != nil:
		specs = []spec{*r.Joined}
	}
	for i := range specs {
		w, err := specs[i].want()
		if err != nil {
			return err
		}
		st.want = append(st.want, w)
	}
	return nil
}

// wants returns what is expected of each item.
func (s *itemsSpec) wants() ([]want, error) {
	values := s.Values
	for i := range s.Count {
		values = append(values, json.RawMessage(strconv.Itoa(i+1)))
	}
	var list []want
	for i := range max(len(values), len(s.Texts)) {
		one := spec{Flag: s.Flag, Seq: s.Seq, Meta: s.Meta}
		if len(values) > 0 {
			one.JSON = values[i]
		} else {
			one.Text = &s.Texts[i]
		}
		w, err := one.want()
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	if len(list) == 0 || len(values) > 0 && len(s.Texts) > 0 {
		return nil, errors.New("items have values, texts or a count")
	}
	return list, nil
}

// fieldWants returns what is expected of the fields of hello: the values, by their names.
func fieldWants(f fields) ([]want, error) {
	var list []want
	for _, name := range slices.Sorted(maps.Keys(f)) {
		b, err := canonical(f[name])
		if err != nil {
			return nil, err
		}
		list = append(list, want{code: []byte(name), body: b, kind: fieldBody})
	}
	return list, nil
}
