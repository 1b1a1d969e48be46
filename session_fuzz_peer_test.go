package flyrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing/synctest"
	"unicode/utf8"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/transport"
)

// sessWire is the peer's end of the connection. It writes and reads on goroutines of its own.
type sessWire struct {
	conn *transport.MemConn
	mu   sync.Mutex
	cond *sync.Cond
	in   []byte
	err  error // why nothing more comes
	out  []byte
	stop bool
	held bool // nothing is read
}

func newSessWire(conn *transport.MemConn) *sessWire {
	w := &sessWire{conn: conn}
	w.cond = sync.NewCond(&w.mu)
	go w.read()
	go w.write()
	return w
}

func (w *sessWire) read() {
	buf := make([]byte, 32<<10)
	for {
		w.mu.Lock()
		for w.held && !w.stop {
			w.cond.Wait()
		}
		w.mu.Unlock()
		n, err := w.conn.Read(buf)
		w.mu.Lock()
		w.in = append(w.in, buf[:n]...)
		w.err = err
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (w *sessWire) write() {
	for {
		w.mu.Lock()
		for len(w.out) == 0 && !w.stop {
			w.cond.Wait()
		}
		b, stop := w.out, w.stop
		w.out = nil
		w.mu.Unlock()
		if stop {
			return
		}
		_, _ = w.conn.Write(b)
	}
}

func (w *sessWire) send(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, b...)
	w.cond.Broadcast()
}

func (w *sessWire) pause(held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
	w.cond.Broadcast()
}

func (w *sessWire) close() {
	_ = w.conn.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = true
	w.cond.Broadcast()
}

// first takes the first packet, and says how many bytes follow.
func (w *sessWire) first() (Packet, int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, n, err := ParsePacket(w.in, 1<<20)
	p.Payload = bytes.Clone(p.Payload)
	w.in = w.in[n:]
	return p, len(w.in), err
}

// sessOut is a packet that is sent when there is credit for it.
type sessOut struct {
	p    []byte
	cost int
	then func()
}

// ourCall is a call that the peer has opened.
type ourCall struct {
	seq    uint16
	tag    byte
	path   *sessPath
	oneWay bool // a message in pieces
	queue  []sessOut

	begun    bool // something of it was sent
	complete bool // all of the request was
	fenced   bool // a message in pieces was, and its fence
	stream   bool
	ending   bool // the end of its items is queued
	ended    bool
	msg      []byte
	n        int // the message, where that is a number
	credit   int
	reserved int // of the credit for messages
	items    []sessItem
	partial  bool // a part of an item was queued and the rest wasn't
	canceled bool
	bad      []Code // codes that the response has, whatever the handler does
	mayBad   []Code // codes that it may have
	violated bool

	budget, due int // for what comes
	pieces      []byte
	parted      bool
	got         [][]byte
}

// sessItem is an item that was sent.
type sessItem struct {
	data []byte
	bad  Code
}

// theirCall is a call that the end under test has opened.
type theirCall struct {
	seq    uint16
	tag    byte
	local  *localCall
	half   bool
	pieces []byte
	parted bool
	stream bool
	ended  bool
	got    [][]byte

	budget, due int
	credit      int
	queue       []sessOut
	canceled    bool
	closing     bool // the answer is queued
	items       []sessItem
	code        string
	body        []byte
	bad         []Code
	odd         bool // something about its answer is not as it should be
}

func (s *session) packet(p Packet) []byte {
	b, err := AppendPacket(nil, &p)
	if err != nil {
		s.fail("the test's own packet: %v", err)
	}
	return b
}

func (s *session) send(p Packet) { s.raw(s.packet(p)) }

// raw writes bytes.
func (s *session) raw(b []byte) {
	if len(b) > 64 {
		s.note("> %q... %d bytes", b[:64], len(b))
	} else {
		s.note("> %q", b)
	}
	s.wire.send(b)
}

// tagged is what a message with a tag is made of: each byte tells whose it is.
func tagged(tag byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = tag<<2 | byte(i&3)
	}
	return b
}

// newTag returns a tag that no other message of the session has, unless there are no more.
func (s *session) newTag() (byte, bool) {
	if s.tags == sessTags {
		return 0, false
	}
	s.tags++
	return s.tags, true
}

// foreign returns where b has a byte of another tag, or -1.
func foreign(tag byte, b []byte) int {
	return slices.IndexFunc(b, func(c byte) bool { return c>>2 != tag })
}

// sync waits until the end under test has done all it can, and takes what it has sent.
func (s *session) sync() {
	for range 10000 {
		synctest.Wait()
		s.wire.mu.Lock()
		in, err := s.wire.in, s.wire.err
		n := len(in)
		s.wire.mu.Unlock()
		rest := in
		for s.wild == "" {
			h, size, err := parseHeader(rest)
			if err != nil || uint64(len(rest)-size) < h.length {
				if err != nil && !errors.Is(err, ErrShortPacket) {
					s.fail("what comes is no packet: %v", err)
				}
				break
			}
			end := size + int(h.length)
			s.take(h, bytes.Clone(rest[size:end]))
			rest = rest[end:]
		}
		if s.wild != "" {
			rest = nil
		}
		s.wire.mu.Lock()
		s.wire.in = append([]byte(nil), s.wire.in[len(in)-len(rest):]...)
		s.wire.mu.Unlock()
		if err != nil {
			s.over(err)
			return
		}
		sent := s.pump()
		if n == len(rest) && !sent {
			break
		}
	}
	if s.doomed != "" && !s.choked {
		s.fail("the connection is open still: %s", s.doomed)
	}
	s.prompt()
}

// over takes the end of the connection.
func (s *session) over(err error) {
	if s.closed {
		return
	}
	s.closed = true
	s.note("closed: %v", err)
	if s.doomed == "" && s.wild == "" && !s.mayEnd {
		s.fail("the connection was closed: %v, %v", err, s.c.Err())
	}
	if s.wild == "" && err != io.EOF {
		s.note("not in order: %v", err)
	}
}

// prompt checks that what can be answered at once is.
func (s *session) prompt() {
	if s.choked || s.wild != "" || s.doomed != "" || s.closed {
		return
	}
	for _, k := range s.ours {
		if k.complete && !k.oneWay && k.path.prompt && !k.violated && len(k.path.want(s, k).body) < min(s.conf.frame, 900) && s.conf.frame >= 200 {
			s.fail("call %d of %s is not answered", k.seq, k.path.path)
		}
	}
}

// pump sends what there is credit for, returns credit, and reports whether it did any of it.
func (s *session) pump() (sent bool) {
	for _, seq := range sortedKeys(s.ours) {
		k := s.ours[seq]
		for len(k.queue) > 0 && k.queue[0].cost <= k.credit {
			o := k.queue[0]
			k.queue = k.queue[1:]
			k.credit -= o.cost
			s.raw(o.p)
			k.begun, sent = true, true
			if o.then != nil {
				o.then()
			}
		}
		if k.complete && !k.oneWay && s.grants(&k.due, s.conf.window) {
			s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: creditCode, Payload: sessUvarint(uint64(k.due))})
			k.budget += k.due
			k.due, sent = 0, true
		}
	}
	for _, seq := range sortedKeys(s.theirs) {
		k := s.theirs[seq]
		if s.grants(&k.due, s.conf.window) {
			s.send(Packet{Flag: FlagStream | FlagResponse, Sequence: k.seq, Code: creditCode, Payload: sessUvarint(uint64(k.due))})
			k.budget += k.due
			k.due, sent = 0, true
		}
		for len(k.queue) > 0 && k.queue[0].cost <= k.credit {
			o := k.queue[0]
			k.queue = k.queue[1:]
			k.credit -= o.cost
			s.raw(o.p)
			sent = true
			if o.then != nil {
				o.then()
			}
		}
	}
	if s.grants(&s.due, s.conf.messages) {
		s.send(Packet{Flag: FlagStream, Code: creditCode, Payload: sessUvarint(uint64(s.due))})
		s.budget += s.due
		s.due, sent = 0, true
	}
	return sent
}

// grants reports whether credit is to be returned now.
func (s *session) grants(due *int, window int) bool {
	if *due == 0 {
		return false
	}
	switch s.conf.policy {
	case 0:
		return true
	default:
		return 2**due >= window
	}
}

func sortedKeys[V any](m map[uint16]V) []uint16 {
	keys := make([]uint16, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// take takes a packet of the end under test.
func (s *session) take(h header, payload []byte) {
	s.note("< %#x %d %.40q %d bytes %.40q", uint8(h.flag), h.seq, h.code, len(payload), payload)
	pong := s.ours[h.seq] != nil && s.ours[h.seq].path.path == pingPath
	if len(payload) > s.conf.frame && !(pong && s.conf.tiny) && (s.conf.frame >= 200 || len(h.code) == 0 || h.code[0] == pieceCode[0]) {
		s.fail("packet %#x %d %.40q has %d bytes, at most %d are taken", uint8(h.flag), h.seq, h.code, len(payload), s.conf.frame)
	}
	piece := h.flag&FlagStream != 0 && string(h.code) == pieceCode
	if (piece || h.flag&FlagStream != 0 && len(h.code) > 0 && h.flag&FlagWait == 0) && h.flag&(FlagMeta|zipBits) != 0 {
		s.fail("a frame %q has flags %#x", h.code, uint8(h.flag))
	}
	switch {
	case h.flag&(FlagResponse|FlagStream) == FlagResponse|FlagStream:
		s.takeFrame(h, payload)
	case h.flag&FlagResponse != 0:
		s.takeResponse(h, payload)
	case h.flag&(FlagStream|FlagWait) == FlagStream:
		s.takeTheirFrame(h, payload)
	default:
		s.takeRequest(h, payload)
	}
}

// creditIn reads a credit frame.
func (s *session) creditIn(payload []byte) int {
	n, w := binary.Uvarint(payload)
	if w <= 0 || w != len(payload) || n == 0 || n > flow.Max {
		s.fail("the credit %x is none", payload)
	}
	return int(n)
}

// takeFrame takes a frame of a call that the peer has opened.
func (s *session) takeFrame(h header, payload []byte) {
	k := s.ours[h.seq]
	if k == nil || !k.begun {
		s.fail("frame %q of call %d, which isn't open", h.code, h.seq)
	}
	switch string(h.code) {
	case creditCode:
		if k.credit += s.creditIn(payload); k.credit > sessWindow {
			s.fail("call %d is granted %d", h.seq, k.credit)
		}
		return
	case itemCode, pieceCode:
		if k.oneWay || !k.complete && !k.canceled {
			s.fail("an answer to %d, which isn't complete", h.seq)
		}
		cost := flow.Cost(len(payload))
		if k.budget -= cost; k.budget < 0 {
			s.fail("call %d gets more than its credit", h.seq)
		}
		k.due += cost
		k.pieces, k.parted = append(k.pieces, payload...), true
		if string(h.code) == pieceCode {
			return
		}
		_, body := s.open1(h.flag, k.pieces)
		k.pieces, k.parted = nil, false
		k.got = append(k.got, body)
		s.checkItems(k)
	default:
		s.fail("frame %q of call %d", h.code, h.seq)
	}
}

// open1 divides a payload into metadata and body, which it inflates.
func (s *session) open1(flag Flag, payload []byte) (meta, body []byte) {
	meta, body, err := splitMeta(flag, payload)
	if err == nil {
		err = checkMeta(meta)
	}
	if err == nil && flag&FlagZipPayload != 0 {
		body, err = s.zip.Inflate(nil, body, 1<<20, s.canInflate())
	}
	if err != nil {
		s.fail("a payload %.40q with %#x can't be read: %v", payload, uint8(flag), err)
	}
	return meta, body
}

// canInflate returns what the peer has said that it inflates.
func (s *session) canInflate() compress.Set { return offered(s.conf.inflate) }

// checkItems compares what has come with what the handler makes of what was sent.
func (s *session) checkItems(k *ourCall) {
	o := k.path.want(s, k)
	if o.joined {
		got, want := bytes.Join(k.got, nil), bytes.Join(o.items, nil)
		if !bytes.HasPrefix(want, got) {
			s.fail("call %d of %s: got %d bytes that were not to come", k.seq, k.path.path, len(got))
		}
		return
	}
	n := len(k.got) - 1
	if n >= len(o.items) || !bytes.Equal(k.got[n], o.items[n]) {
		var want []byte
		if n < len(o.items) {
			want = o.items[n]
		}
		s.fail("call %d of %s: item %d is %.20q of %d bytes, want %.20q of %d", k.seq, k.path.path, n, k.got[n], len(k.got[n]), want, len(want))
	}
}

// takeResponse takes the response of a call or ping of the peer.
func (s *session) takeResponse(h header, payload []byte) {
	if then, ok := s.pongs[h.seq]; ok {
		delete(s.pongs, h.seq)
		if len(h.code) > 0 {
			s.fail("a ping is answered %q", h.code)
		}
		then()
		return
	}
	k := s.ours[h.seq]
	if k == nil || !k.begun || k.fenced {
		s.fail("response %q %.40q to %d, which isn't open", h.code, payload, h.seq)
	}
	delete(s.ours, h.seq)
	s.lastSeq = h.seq
	s.answered++
	if len(h.code) == 0 {
		payload = append(k.pieces, payload...)
	}
	meta, body := s.open1(h.flag, payload)
	s.checkResponse(k, Code(h.code), meta, body)
}

// checkResponse compares the response of a call with what it has to be.
func (s *session) checkResponse(k *ourCall, code Code, meta, body []byte) {
	what := fmt.Sprintf("call %d of %s is answered %q %.40q of %d bytes", k.seq, k.path.path, code, body, len(body))
	if code != "" && (len(body) == 0 || !utf8.Valid(body)) {
		s.fail("%s: that is no message", what)
	}
	if s.mayEnd && code == Unavailable || s.drained && (code == Unavailable || code == "BYE_BYE") || s.early && code == Busy || slices.Contains(k.mayBad, code) {
		return
	}
	if k.canceled && code == Canceled {
		if !k.complete && s.conf.frame >= 16 && !metaHas(Packet{Meta: meta}, MetaNotProcessed) {
			s.fail("%s, and is processed", what)
		}
		return
	}
	if !k.complete {
		s.fail("%s before it was complete", what)
	}
	if len(k.bad) > 0 && k.path.routed {
		if !slices.Contains(k.bad, code) {
			s.fail("%s, want %q", what, k.bad)
		}
		if s.conf.frame >= 16 && !metaHas(Packet{Meta: meta}, MetaNotProcessed) {
			s.fail("%s, and is processed", what)
		}
		return
	}
	o := k.path.want(s, k)
	switch {
	case code == "" && o.joined && len(bytes.Join(k.got, nil)) != len(bytes.Join(o.items, nil)):
		s.fail("%s after %d items", what, len(k.got))
	case !o.joined && len(k.got) != len(o.items) && !k.canceled:
		s.fail("%s after %d items of %d", what, len(k.got), len(o.items))
	case code != o.code || code == "" && !bytes.Equal(body, o.body):
		s.fail("%s, want %q %.40q of %d bytes", what, o.code, o.body, len(o.body))
	case !o.over:
		s.fail("%s too early", what)
	}
}
