package wiretest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// step does one step.
func (p *player) step(st *step) error {
	switch st.kind {
	case stepSend:
		return p.send(st.send, 0)
	case stepRecv, stepAnyOrder:
		return p.recv(st.want)
	case stepSendHello:
		return p.sayHello(st.fields)
	case stepRecvHello:
		return p.takeHello(st.want)
	case stepClosed:
		return p.closed()
	case stepFence:
		return p.fence()
	case stepItems:
		return p.items(st.want)
	case stepJoined:
		return p.joined(&st.want[0])
	case stepGranted:
		return p.granted(st)
	case stepPump:
		return p.send(st.send, st.until.of(&p.books.peer))
	default:
		return p.overdraw(st.send)
	}
}

// outgoing returns the packet of a spec, with its sequence.
func (p *player) outgoing(s *spec) (o outgoing, err error) {
	if o, err = s.outgoing(&p.books.peer); err != nil {
		return o, err
	}
	name := o.name
	if o.text != nil {
		name = o.text.name
	}
	if name == "" {
		return o, nil
	}
	seq, ok := p.bound[name]
	if !ok {
		return o, fmt.Errorf("no sequence %q has come", name)
	}
	o.seq = seq
	if o.text != nil {
		binary.BigEndian.PutUint16(o.text.bytes[o.text.at:], seq)
	}
	return o, nil
}

// send sends the packets of a spec, each when there is credit for it. With until it sends the packet until so
// much was taken from its account.
func (p *player) send(s *spec, until int) error {
	o, err := p.outgoing(s)
	if err != nil {
		return err
	}
	if o.text != nil {
		if pkt, err := parsePacket(o.text.bytes); err == nil && p.v2 {
			p.books.sent(pkt, kindOf(pkt, isReserved(pkt)))
		}
		return p.write(o.text.bytes)
	}
	for i := 0; ; i++ {
		a, err := p.put(&o, false)
		if err != nil || p.broken != nil {
			return err
		}
		if until > 0 && (a == nil || a.taken >= until) || until == 0 && i+1 >= o.times.of(&p.books.peer) {
			return nil
		}
		if o.each {
			o.seq++
		}
	}
}

// isReserved reports whether a packet's path is FlyRPC's own.
func isReserved(p *packet) bool { return bytes.HasPrefix(p.code, []byte("fly.")) }

// put sends a packet when there is credit for it, or at once with force, and returns the account that
// it was taken from.
func (p *player) put(o *outgoing, force bool) (*account, error) {
	data := o.bytes()
	if o.fake != nil {
		n := uint64(o.fake.of(&p.books.peer))
		data = append(appendHeader(nil, o.flag, o.seq, o.code, n, lengthSize(n)), o.payload...)
	}
	if !p.v2 {
		return nil, p.write(data)
	}
	kind := kindOf(&o.packet, isReserved(&o.packet))
	if kind == requestPiece && p.books.openCall(&o.packet, true) == nil {
		p.books.open(callKey{true, o.seq}, false)
	}
	a := p.books.accountOf(&o.packet, kind, true)
	for a != nil && !force && a.left() < cost(&o.packet) {
		if err := p.await(); err != nil {
			return nil, fmt.Errorf("waiting for credit, of which there is %d, to send %s: %w", a.left(), &o.packet, err)
		}
	}
	p.books.sent(&o.packet, kind)
	return a, p.write(data)
}

// recv takes as many packets as are expected, in any order.
func (p *player) recv(wants []want) error {
	open := append([]want(nil), wants...)
	for len(open) > 0 {
		pkt, err := p.receive()
		if err != nil {
			return fmt.Errorf("%w; expected %s", err, &open[0])
		}
		var first error
		for i := range open {
			if err = p.match(&open[i], pkt); err == nil {
				open = append(open[:i], open[i+1:]...)
				break
			}
			if first == nil {
				first = err
			}
		}
		if err != nil {
			return first
		}
	}
	return nil
}

// match compares a packet with what is expected, and keeps its sequence if that has a name.
func (p *player) match(w *want, pkt *packet) error {
	same, err := pkt, error(nil)
	if p.inflate {
		same, err = inflated(pkt)
	}
	if err == nil {
		err = w.matches(same, pkt.codeOrPath())
	}
	if err == nil && w.name != "" {
		err = p.bind(w.name, pkt.seq)
	}
	if err != nil {
		return fmt.Errorf("%w\nexpected %s\ngot      %s", err, w, pkt)
	}
	return nil
}

// bind gives a sequence its name, or compares it with what has the name.
func (p *player) bind(name string, seq uint16) error {
	if have, ok := p.bound[name]; ok && have != seq {
		return fmt.Errorf("the sequence is %d, not %q, which is %d", seq, name, have)
	}
	p.bound[name] = seq
	return nil
}

// closed waits for the end of the connection, before which nothing may come.
func (p *player) closed() error {
	pkt, err := p.receive()
	switch {
	case err == nil:
		return fmt.Errorf("the connection should end, and this came: %s", pkt)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the connection should end, and is still open")
	}
	return nil
}

// fence sends a ping, whose answer must be what comes next: so all that was sent before was read, and nothing
// was answered to it.
func (p *player) fence() error {
	p.fences++
	ping := packet{flag: flagWait, seq: fenceSeq, code: []byte(pingPath), payload: fmt.Appendf(nil, "fence %d", p.fences)}
	if err := p.write(ping.bytes()); err != nil {
		return err
	}
	return p.recv([]want{{flag: flagResponse, seq: fenceSeq, body: ping.payload}})
}

// grant gives back what a packet has taken.
func (p *player) grant(pkt *packet) error {
	w := packet{flag: flagStream, seq: pkt.seq, code: []byte("w"), payload: binary.AppendUvarint(nil, uint64(cost(pkt)))}
	if pkt.flag&flagResponse == 0 {
		w.flag |= flagResponse
	}
	p.books.sent(&w, credit)
	return p.write(w.bytes())
}

// items takes items in their order and grants what they take.
func (p *player) items(wants []want) error {
	for i := range wants {
		pkt, err := p.receive()
		if err != nil {
			return fmt.Errorf("item %d: %w; expected %s", i+1, err, &wants[i])
		}
		if err := p.match(&wants[i], pkt); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
		if err := p.grant(pkt); err != nil {
			return err
		}
	}
	return nil
}

// joined takes pieces and the packet that ends them, and compares the whole. Packets of other sequences that come
// between them are for the steps behind this one.
func (p *player) joined(w *want) error {
	piece := byte(flagStream | w.flag&flagResponse)
	if w.flag&flagResponse == 0 && w.flag&(flagWait|flagStream) != flagStream {
		piece |= flagWait
	}
	whole := packet{}
	var others []*packet
	defer func() { p.queue = append(others, p.queue...) }()
	for {
		pkt, err := p.receive()
		if err != nil {
			return fmt.Errorf("behind %d bytes and %d other packets: %w; expected %s", len(whole.payload), len(others), err, w)
		}
		if p.isOther(w, pkt) {
			others = append(others, pkt)
			continue
		}
		if string(pkt.code) != "+" || pkt.flag&flagStream == 0 {
			whole.flag, whole.seq, whole.code, whole.path = pkt.flag, pkt.seq, pkt.code, pkt.path
			whole.payload = append(whole.payload, pkt.payload...)
			return p.match(w, &whole)
		}
		if pkt.flag != piece {
			return fmt.Errorf("a piece of %s can't be %s", w, pkt)
		}
		if w.name != "" {
			if err := p.bind(w.name, pkt.seq); err != nil {
				return fmt.Errorf("%w: %s", err, pkt)
			}
		}
		whole.payload = append(whole.payload, pkt.payload...)
		if err := p.grant(pkt); err != nil {
			return err
		}
	}
}

// isOther reports whether a packet can't be of the call or message that is expected.
func (p *player) isOther(w *want, pkt *packet) bool {
	seq := w.seq
	if w.name != "" {
		var ok bool
		if seq, ok = p.bound[w.name]; !ok {
			seq = pkt.seq
		}
	}
	return pkt.seq != seq || (pkt.flag^w.flag)&flagResponse != 0
}

// seqOf returns the sequence of a number or name, and whether it is the runner's own.
func (p *player) seqOf(raw json.RawMessage) (callKey, error) {
	s := spec{Seq: raw}
	head, name, err := s.head()
	if err != nil || name == "" {
		return callKey{true, head.seq}, err
	}
	seq, ok := p.bound[name]
	if !ok {
		return callKey{}, fmt.Errorf("no sequence %q has come", name)
	}
	return callKey{false, seq}, nil
}

// granted waits until what was taken from an account was granted again, but for half of the
// initial credit, which may be held back.
func (p *player) granted(st *step) error {
	key, err := p.seqOf(st.seq)
	if err != nil {
		return err
	}
	a := &p.books.out
	if key.seq != 0 {
		c := p.books.calls[key]
		if c == nil {
			return fmt.Errorf("call %d isn't open", key.seq)
		}
		a = &c.out
	}
	for a.taken-a.granted > a.initial/2 || a.granted < st.least {
		if err := p.await(); err != nil {
			return fmt.Errorf("%d of %d bytes were granted again: %w", a.granted, a.taken, err)
		}
	}
	return nil
}

// overdraw sends a packet as long as there is credit for it, and once more.
func (p *player) overdraw(s *spec) error {
	o, err := p.outgoing(s)
	if err != nil {
		return err
	}
	for {
		a := p.books.accountOf(&o.packet, kindOf(&o.packet, isReserved(&o.packet)), true)
		if a == nil {
			return fmt.Errorf("no account is open for %s", &o.packet)
		}
		if a.left() < cost(&o.packet) {
			if err := p.fence(); err != nil { // credit that is on its way comes before the answer
				return err
			}
		}
		last := a.left() < cost(&o.packet)
		if _, err := p.put(&o, true); err != nil || last || p.broken != nil {
			return err
		}
	}
}
