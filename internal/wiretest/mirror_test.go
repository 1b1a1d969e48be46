package wiretest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// scenarios returns all scenarios of the repository.
func scenarios(t testing.TB) []Scenario {
	t.Helper()
	all, err := Load(os.DirFS("../../testdata/wire/scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mirror plays the other end of a scenario: it sends what is expected, and takes what is sent. So it
// shows that a scenario can be fulfilled, and that the runner sees when it isn't.
type mirror struct {
	*player
	nextSeq uint16
	over    bool // the runner has sent more than its credit
}

// serveMirror plays the other end of a scenario over conn, where the runner takes side.
func serveMirror(conn net.Conn, s *Scenario, side Side) error {
	defer conn.Close()
	other := Accepting
	if side == Accepting {
		other = Dialling
	}
	m := &mirror{
		player:  &player{conn: conn, r: bufio.NewReader(conn), side: other, v2: true, bound: map[string]uint16{}},
		nextSeq: 100,
	}
	if err := m.meet(&s.hello); err != nil {
		return fmt.Errorf("meet: %w", err)
	}
	for i := range s.steps {
		_ = m.hurry(5 * time.Second)
		if err := m.opposite(&s.steps[i]); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.steps[i].kind, err)
		}
	}
	if s.ends() || s.hello.v1 || s.hello.none {
		return nil
	}
	return m.pong()
}

// meet is the other end's part of the handshake.
func (m *mirror) meet(h *handshake) error {
	_ = m.hurry(5 * time.Second)
	switch {
	case h.none:
		m.books.begin()
		return nil
	case h.v1 && m.side == Accepting:
		m.books.begin()
		return nil
	case h.v1:
		if err := m.sayHello(nil); err != nil {
			return err
		}
		_, err := m.next()
		return err
	}
	own := fields{"inflate": []byte(`["zstd", "flate"]`)}
	if m.side == Accepting {
		own["codes"] = nil
		return errors.Join(m.takeHello(nil), m.sayHello(own))
	}
	return errors.Join(m.sayHello(own), m.takeHello(nil))
}

// opposite does the other end's part of a step.
func (m *mirror) opposite(st *step) error {
	switch st.kind {
	case stepSend, stepPump:
		return m.take(st)
	case stepRecv, stepItems, stepAnyOrder:
		list := slices.Clone(st.want)
		if st.kind == stepAnyOrder {
			slices.Reverse(list)
		}
		for i := range list {
			if err := m.give(&list[i]); err != nil {
				return err
			}
		}
		return nil
	case stepJoined:
		return m.giveInPieces(&st.want[0])
	case stepSendHello:
		_, err := m.next() // whatever it says
		return err
	case stepRecvHello:
		f := fields{}
		for _, w := range st.want {
			f[string(w.code)] = w.body
		}
		return m.sayHello(f)
	case stepFence:
		return m.pong()
	case stepOverdraw:
		for !m.over {
			if _, err := m.next(); err != nil {
				return err
			}
		}
		return nil
	case stepClosed:
		return m.conn.Close()
	}
	return nil // granted: it was, at once
}

// whole returns a packet that is what w expects.
func (m *mirror) whole(w *want) outgoing {
	o := outgoing{packet: *w.packet()}
	if w.kind == messageBody {
		o.payload = append(bytes.Clone(w.meta), "for people"...)
	}
	if w.anyCode {
		o.code = []byte("ANY")
	}
	if w.name != "" {
		if _, ok := m.bound[w.name]; !ok {
			m.bound[w.name] = m.nextSeq
			m.nextSeq++
		}
		o.seq = m.bound[w.name]
	}
	return o
}

// give sends a packet when there is credit for it.
func (m *mirror) give(w *want) error {
	o := m.whole(w)
	return m.giveOne(&o)
}

// giveOne sends a packet when there is credit for it.
func (m *mirror) giveOne(o *outgoing) error {
	kind := kindOf(&o.packet, isReserved(&o.packet))
	if kind == requestPiece && m.books.openCall(&o.packet, true) == nil {
		m.books.open(callKey{true, o.seq}, false)
	}
	a := m.books.accountOf(&o.packet, kind, true)
	for a != nil && a.left() < cost(&o.packet) {
		if _, err := m.read1(); err != nil {
			return err
		}
	}
	m.books.sent(&o.packet, kind)
	return m.write(o.bytes())
}

// giveInPieces sends a packet in pieces that fit the runner's limits.
func (m *mirror) giveInPieces(w *want) error {
	o := m.whole(w)
	most := min(m.books.peer.get("frame"), m.books.peer.get("window")/2-overhead)
	payload, flag := o.payload, flagStream|o.flag&(flagResponse|flagWait)
	if o.flag&(flagResponse|flagStream) == 0 {
		flag |= flagWait // of a message too
	}
	for len(payload) > most {
		piece := outgoing{packet: packet{flag: flag, seq: o.seq, code: []byte("+"), payload: payload[:most]}}
		if err := m.giveOne(&piece); err != nil {
			return err
		}
		payload = payload[most:]
	}
	o.payload = payload
	return m.giveOne(&o)
}

// read1 reads one packet and books it. Credit is nil.
func (m *mirror) read1() (*packet, error) {
	pkt, err := readPacket(m.r, func(b []byte) error {
		_, err := io.ReadFull(m.r, b)
		return err
	})
	if err != nil {
		return nil, err
	}
	kind := kindOf(pkt, isReserved(pkt))
	m.over = m.books.came(pkt, kind) != nil
	switch {
	case kind == credit:
		return pkt, nil
	case string(pkt.code) == pingPath && bytes.HasPrefix(pkt.payload, []byte("fence ")):
		pong := packet{flag: flagResponse, seq: pkt.seq, payload: pkt.payload}
		m.books.answered(m.books.messages)
		return pkt, m.write(pong.bytes())
	}
	return pkt, nil
}

// next returns the next packet that isn't credit.
func (m *mirror) next() (*packet, error) {
	for {
		pkt, err := m.read1()
		if err != nil || string(pkt.code) != "w" {
			return pkt, err
		}
	}
}

// pong answers the next fence.
func (m *mirror) pong() error {
	pkt, err := m.next()
	if err == nil && string(pkt.code) != pingPath {
		err = fmt.Errorf("no fence: %s", pkt)
	}
	return err
}

// grantBack grants what a packet has taken.
func (m *mirror) grantBack(pkt *packet) error {
	kind := kindOf(pkt, isReserved(pkt))
	a := m.books.accountOf(pkt, kind, false)
	switch {
	case a == nil:
		return nil
	case kind != oneWay:
		return m.grant(pkt)
	}
	w := packet{flag: flagStream, code: []byte("w"), payload: binary.AppendUvarint(nil, uint64(cost(pkt)))}
	m.books.sent(&w, credit)
	return m.write(w.bytes())
}

// take takes what the runner sends.
func (m *mirror) take(st *step) error {
	o, err := st.send.outgoing(&m.books.own)
	if err != nil {
		return err
	}
	if o.text != nil {
		return m.takeText(o.text)
	}
	if o.name != "" {
		o.seq = m.bound[o.name]
	}
	if o.fake != nil {
		n := uint64(o.fake.of(&m.books.own))
		return m.takeBytes(append(appendHeader(nil, o.flag, o.seq, o.code, n, lengthSize(n)), o.payload...))
	}
	until := st.until.of(&m.books.own)
	for i := 0; ; i++ {
		pkt, err := m.next()
		if err != nil {
			return err
		}
		if !bytes.Equal(pkt.raw, o.bytes()) {
			return fmt.Errorf("%s came instead of %s", pkt, &o.packet)
		}
		a := m.books.accountOf(pkt, kindOf(pkt, isReserved(pkt)), false)
		if err := m.grantBack(pkt); err != nil {
			return err
		}
		if until > 0 && (a == nil || a.taken >= until) || until == 0 && i+1 >= o.times.of(&m.books.own) {
			return nil
		}
		if o.each {
			o.seq++
		}
	}
}

// takeText takes bytes that the runner sends as they are.
func (m *mirror) takeText(t *template) error {
	if t.name != "" {
		binary.BigEndian.PutUint16(t.bytes[t.at:], m.bound[t.name])
	}
	for { // grants that the scenario doesn't mention
		head, err := m.r.Peek(min(5, len(t.bytes)))
		if err != nil {
			return err
		}
		if len(head) < 5 || head[0]&flagStream == 0 || head[3] != 'w' || bytes.Equal(head, t.bytes[:5]) {
			break
		}
		if _, err := m.read1(); err != nil {
			return err
		}
	}
	if err := m.takeBytes(t.bytes); err != nil {
		return err
	}
	if pkt, err := parsePacket(t.bytes); err == nil {
		_ = m.books.came(pkt, kindOf(pkt, isReserved(pkt)))
	}
	return nil
}

// takeBytes takes exactly these bytes.
func (m *mirror) takeBytes(want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(m.r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s came instead of %s", shortHex(got), shortHex(want))
	}
	return nil
}

// playMirror plays a scenario against the mirror of another, and returns the errors of both.
func playMirror(t testing.TB, l net.Listener, s, other Scenario, side Side) (runner, opposite error) {
	t.Helper()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serveMirror(there, &other, side) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	runner = Play(ctx, here, s, side)
	return runner, <-done
}

// listen listens on a port of its own.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestMirrorsFulfilScenarios(t *testing.T) {
	l := listen(t)
	for _, s := range scenarios(t) {
		for _, side := range []Side{Dialling, Accepting} {
			if !s.Plays(side) {
				continue
			}
			if err, other := playMirror(t, l, s, s, side); err != nil || other != nil {
				t.Errorf("%s, as %s: %v; the mirror: %v", s.Name, side, err, other)
			}
		}
	}
}

func TestMutationsFail(t *testing.T) {
	l := listen(t)
	for _, s := range scenarios(t) {
		if s.Expected() > 0 && len(s.Section) == 1 && s.Section >= "5" {
			mutate(t, l, s)
		}
	}
}

// mutate changes expected bytes of a scenario, one at a time; of many it takes a sample.
func mutate(t *testing.T, l net.Listener, s Scenario) {
	t.Helper()
	side := Dialling
	if !s.Plays(side) {
		side = Accepting
	}
	step := 1 + s.Expected()/16
	for i := 0; i < s.Expected(); i += step {
		if err, _ := playMirror(t, l, s.Mutate(i), s, side); err == nil || errors.Is(err, ErrNotOffered) {
			t.Errorf("%s: expected byte %d was changed, and nothing failed: %v", s.Name, i, err)
		}
	}
}
