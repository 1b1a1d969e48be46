package flyrpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// sessOp is a kind of step.
type sessOp struct {
	name string
	code byte
	do   func(*session)
}

// sessWeights are the steps, each as often as it is to come.
var sessWeights = []struct {
	name  string
	n     int
	other int // with a Client
	do    func(*session)
}{
	{"request", 12, 4, (*session).doRequest},
	{"item", 10, 4, (*session).doItem},
	{"end", 3, 1, (*session).doEnd},
	{"cancel", 3, 2, (*session).doCancel},
	{"message", 5, 3, (*session).doMessage},
	{"local", 4, 10, (*session).startLocal},
	{"answer", 4, 10, (*session).doAnswer},
	{"answer item", 3, 8, (*session).doAnswerItem},
	{"local cancel", 1, 2, (*session).doLocalCancel},
	{"sync", 8, 8, (*session).sync},
	{"extra credit", 2, 2, (*session).doCredit},
	{"stray", 3, 3, (*session).doStray},
	{"gate", 3, 2, func(s *session) { s.release(false) }},
	{"long", 2, 2, (*session).doLong},
	{"pause", 1, 1, (*session).doPause},
	{"sleep", 1, 1, (*session).doSleep},
	{"teach", 2, 1, (*session).doTeach},
	{"bye", 1, 1, (*session).doBye},
	{"zip code", 2, 1, (*session).doZipCode},
	{"violate", 1, 1, (*session).doViolate},
	{"garbage", 1, 1, (*session).doGarbage},
	{"end", 1, 1, (*session).doClose},
}

// sessOps returns the kinds of steps with the bytes that begin them with a Server.
func sessOps() (ops []sessOp) {
	code := 0
	for _, w := range sessWeights {
		ops = append(ops, sessOp{w.name, byte(code), w.do})
		code += w.n
	}
	return ops
}

// step takes one step of the program.
func (s *session) step(client bool) {
	total := 0
	for _, w := range sessWeights {
		total += w.n
		if client {
			total += w.other - w.n
		}
	}
	at := int(s.byte()) % total
	for _, w := range sessWeights {
		n := w.n
		if client {
			n = w.other
		}
		if at -= n; at < 0 {
			s.note("-- %s", w.name)
			w.do(s)
			return
		}
	}
}

// size returns how long a message is to be.
func (s *session) size() int {
	n := pick(s, 0, 1, 2, 31, 100, 400, 900, 1010, 1500, 3000, 900, 400, 9000, 16384, 16385, 25000)
	if s.conf.tiny {
		n %= 9
	}
	return n
}

// payload makes the payload of a message. bad are the codes with which it is refused, if it is to be wrong.
func (s *session) payload(body []byte, raw bool) (flag Flag, payload []byte, bad []Code) {
	var meta []byte
	if raw {
		meta = AppendMeta(meta, MetaSerializer, "", "")
	}
	how := s.byte()
	switch how % 32 {
	case 0:
		meta = AppendMeta(meta, MetaKey, "k", "v")
	case 1:
		meta = AppendMeta(meta, MetaTimeout, "", sessUvarint(60e6*60))
	case 2:
		meta = AppendMeta(meta, 77, "", "unknown")
	case 3:
		meta = append(meta, 0, 200)
		bad = append(bad, BadRequest)
	case 4:
		for range maxMetaEntries {
			meta = AppendMeta(meta, MetaKey, "", "")
		}
		if !raw {
			meta = AppendMeta(meta, MetaKey, "", "")
		}
		bad = append(bad, BadRequest)
	case 5:
		meta = AppendMeta(meta, MetaSerializer, "", "none")
		bad = append(bad, BadRequest)
	}
	if len(body) > sessMessage {
		bad = append(bad, TooLong)
	}
	data := body
	switch how / 32 {
	case 0:
		if out, ok := s.zip.Append(nil, body, pick(s, compress.Flate, compress.Zstd)); ok {
			flag, data = FlagZipPayload, out
		}
	case 1:
		flag, data = FlagZipPayload, pick(s, []byte{0xFF, 0xFF}, []byte{0x28, 0xB5, 0x2F, 0xFD, 9}, nil)
		bad = append(bad, BadRequest)
	case 2:
		flag = FlagZipPayload
		data, _ = s.zip.Append(nil, make([]byte, sessMessage+1+int(s.byte())*500), pick(s, compress.Flate, compress.Zstd))
		bad = append(bad, TooLong)
	case 3:
		if out, ok := s.zip.Append(nil, body, compress.Flate); ok && len(body) <= sessMessage {
			flag, data = FlagZipPayload, append(out, 0)
			bad = append(bad, BadRequest)
		}
	}
	if how%32 == 6 {
		payload, flag = []byte{200, 200}, flag|FlagMeta
		return flag, append(payload, data...)[:2], append(bad, BadRequest)
	}
	if len(meta) > 0 {
		flag |= FlagMeta
		payload = appendMetaBlock(nil, meta)
	}
	return flag, append(payload, data...), bad
}

// wire makes a packet whose payload has its metadata already.
func (s *session) bytesOf(flag Flag, seq uint16, code string, payload []byte) []byte {
	b := s.packet(Packet{Flag: flag &^ FlagMeta, Sequence: seq, Code: code, Payload: payload})
	b[0] |= byte(flag & FlagMeta)
	return b
}

// pieces queues payload as pieces of at most size bytes, and returns what is left for the last packet.
func (s *session) cut(queue *[]sessOut, flag Flag, seq uint16, payload []byte) []byte {
	size := sessPart
	switch how := s.byte(); {
	case how%4 == 0 && len(payload) <= 3000:
		size = 1 + int(how)*2
	case len(payload) <= sessFrame:
		return payload
	}
	for len(payload) > size {
		p := s.bytesOf(FlagStream|flag, seq, pieceCode, payload[:size])
		*queue = append(*queue, sessOut{p: p, cost: flow.Cost(size)})
		payload = payload[size:]
	}
	if s.byte()%8 == 0 && size >= 32 { // the last may be empty
		p := s.bytesOf(FlagStream|flag, seq, pieceCode, payload)
		*queue = append(*queue, sessOut{p: p, cost: flow.Cost(len(payload))})
		return nil
	}
	return payload
}

// newSeq returns a sequence that isn't in use, if one call more may be opened.
func (s *session) newSeq() (uint16, bool) {
	n := 0
	for _, k := range s.ours {
		if !k.fenced {
			n++
		}
	}
	if n >= sessCalls {
		return 0, false
	}
	if s.byte()%4 == 0 && s.lastSeq != 0 && s.ours[s.lastSeq] == nil && s.pongs[s.lastSeq] == nil {
		return s.lastSeq, true
	}
	return s.freshSeq(), true
}

func (s *session) freshSeq() uint16 {
	for {
		if s.nextSeq++; s.nextSeq == 0 || s.ours[s.nextSeq] != nil || s.pongs[s.nextSeq] != nil {
			continue
		}
		return s.nextSeq
	}
}

// newCall opens a call on the peer's books.
func (s *session) newCall(path *sessPath) *ourCall {
	seq, ok := s.newSeq()
	if !ok {
		s.sync() // some may end
		if seq, ok = s.newSeq(); !ok {
			return nil
		}
	}
	tag, ok := s.newTag()
	if !ok {
		return nil
	}
	k := &ourCall{seq: seq, tag: tag, path: path, credit: sessWindow, budget: s.conf.window}
	s.ours[seq] = k
	return k
}

// doRequest opens a call.
func (s *session) doRequest() {
	path := sessPaths[int(s.byte())%len(sessPaths)]
	if path.path == longPath && s.conf.tiny {
		return
	}
	k := s.newCall(path)
	if k == nil {
		return
	}
	k.msg = tagged(k.tag, s.size())
	if len(k.msg) == 0 && (path.path == "/call" || path.path == "/push") {
		k.msg = tagged(k.tag, 1)
	}
	switch path.path {
	case "/call":
		k.mayBad = append(k.mayBad, Busy)
	case "/push":
		s.pushed[k.tag] = k.msg
		k.mayBad = append(k.mayBad, Busy)
		if len(k.msg) > s.conf.message {
			k.mayBad = append(k.mayBad, TooLong)
		}
	case "/reply":
		s.early = true
	}
	raw := path.path != pingPath
	if path.number {
		k.n = pick(s, 0, 1, 3, 7, 200, 3000)
		if path.path == "/count" || path.path == "/torn" {
			k.n %= 100
		}
		if s.conf.tiny {
			k.n %= 9
		}
		k.msg, raw = fmt.Append(nil, k.n), false
	}
	k.stream = path.takes && s.byte()%8 != 0 || s.byte()%16 == 0
	flag, payload, bad := s.payload(k.msg, raw)
	k.bad = bad
	if !path.routed && (len(bad) > 0 || flag&FlagZipPayload != 0 && path.path == pingPath) {
		k.mayBad = append(k.mayBad, BadRequest, TooLong)
		k.violated = true
		if path.path == pingPath && (len(k.msg) <= maxPing || flag&FlagZipPayload != 0) { // which are echoed without a look
			k.mayBad = append(k.mayBad, "")
		}
	}
	open := FlagWait
	if k.stream {
		open |= FlagStream
	}
	rest := s.cut(&k.queue, FlagWait, k.seq, payload)
	p := s.bytesOf(flag|open, k.seq, path.path, rest)
	k.queue = append(k.queue, sessOut{p: p, then: func() { k.complete = true }})
	s.pump()
}

// pickOurs returns one of the calls that the peer has opened.
func (s *session) pickOurs(ok func(*ourCall) bool) *ourCall {
	var all []*ourCall
	for _, seq := range sortedKeys(s.ours) {
		if ok(s.ours[seq]) {
			all = append(all, s.ours[seq])
		}
	}
	if n := s.byte(); len(all) > 0 {
		return all[int(n)%len(all)]
	}
	return nil
}

// takesItems reports whether an item can be sent.
func takesItems(k *ourCall) bool { return k.stream && !k.ending && !k.canceled && !k.oneWay }

// doItem sends an item, or only a part of it.
func (s *session) doItem() {
	k := s.pickOurs(takesItems)
	if k == nil {
		return
	}
	s.item(k, tagged(k.tag, s.size()))
}

func (s *session) item(k *ourCall, body []byte) {
	if k.partial {
		k.partial = false // what was begun ends with this
	}
	flag, payload, bad := s.payload(body, true)
	rest := s.cut(&k.queue, 0, k.seq, payload)
	it := sessItem{data: body}
	if len(bad) > 0 {
		it.bad = bad[0]
		for _, code := range bad[1:] { // which is looked at first doesn't matter
			if code != it.bad {
				k.mayBad = append(k.mayBad, code)
			}
		}
	}
	k.queue = append(k.queue, sessOut{
		p: s.bytesOf(FlagStream|flag, k.seq, itemCode, rest), cost: flow.Cost(len(rest)),
		then: func() { k.items = append(k.items, it) },
	})
	s.pump()
}

// doEnd ends items.
func (s *session) doEnd() {
	if k := s.pickOurs(takesItems); k != nil {
		s.end(k)
	}
}

func (s *session) end(k *ourCall) {
	k.ending = true
	p := s.packet(Packet{Flag: FlagStream, Sequence: k.seq, Code: endCode})
	k.queue = append(k.queue, sessOut{p: p, then: func() { k.ended = true }})
	s.pump()
}

// doCancel gives a call up.
func (s *session) doCancel() {
	if k := s.pickOurs(func(k *ourCall) bool { return !k.fenced && !k.canceled }); k != nil {
		s.cancel(k)
	}
}

func (s *session) cancel(k *ourCall) {
	k.queue = nil
	s.credit += k.reserved
	if !k.begun {
		delete(s.ours, k.seq)
		return
	}
	k.canceled = true
	if k.oneWay { // which is answered now
		k.oneWay = false
	}
	s.send(rawCancel(k.seq))
}

// doMessage sends a one-way message.
func (s *session) doMessage() {
	path := pick(s, "/note", "/note/ordered", "/note/inline", "/note/late", "/none", "fly.none", "/pass")
	tag, ok := s.newTag()
	if !ok {
		return
	}
	body := tagged(tag, s.size())
	flag, payload, bad := s.payload(body, true)
	heard := func() {
		if len(bad) == 0 && strings.HasPrefix(path, "/note") {
			s.notes[path+string(body)]++
		}
	}
	if len(payload) <= sessPart && s.byte()%4 != 0 {
		cost := flow.Cost(len(payload))
		if strings.HasPrefix(path, reservedPrefix) {
			cost = 0
		}
		if cost > s.credit {
			return
		}
		s.credit -= cost
		s.raw(s.bytesOf(flag, 0, path, payload))
		heard()
		return
	}
	k := s.newCall(&sessPath{path: path})
	if k == nil {
		return
	}
	k.oneWay = true
	rest := s.cut(&k.queue, FlagWait, k.seq, payload)
	cost := flow.Cost(len(rest))
	if strings.HasPrefix(path, reservedPrefix) {
		cost = 0
	}
	if len(k.queue) == 0 || cost > s.credit {
		delete(s.ours, k.seq)
		return
	}
	s.credit -= cost
	k.reserved = cost
	k.queue[0].then = func() {} // so it has begun
	p := s.bytesOf(flag, k.seq, path, rest)
	k.queue = append(k.queue, sessOut{p: p, then: func() {
		k.complete, k.fenced, k.reserved = true, true, 0
		heard()
		seq := s.freshSeq()
		s.pongs[seq] = func() { delete(s.ours, k.seq) }
		s.send(rawRequest(seq, pingPath, ""))
	}})
	s.pump()
}

// pickTheirs returns one of the calls of the end under test.
func (s *session) pickTheirs() *theirCall {
	var all []*theirCall
	for _, seq := range sortedKeys(s.theirs) {
		if k := s.theirs[seq]; !k.half && !k.closing {
			all = append(all, k)
		}
	}
	if n := s.byte(); len(all) > 0 {
		return all[int(n)%len(all)]
	}
	return nil
}

// doAnswer answers a call of the end under test.
func (s *session) doAnswer() {
	k := s.pickTheirs()
	if k == nil {
		return
	}
	how := s.byte()
	if how%8 == 0 {
		k.code = "E_" + fmt.Sprint(k.tag)
		meta := AppendMeta(nil, MetaDetails, "", `{"a":[1,2]}`)
		s.answer(k, s.packet(Packet{Flag: FlagResponse, Sequence: k.seq, Code: k.code, Meta: meta, Payload: []byte("sorry")}))
		return
	}
	if how%32 == 1 { // longer than a packet may be
		k.bad = []Code{TooLong}
		k.queue = nil
		s.answer(k, appendPacketOf(FlagResponse, k.seq, "", make([]byte, sessFrame+1+int(s.byte()))))
		return
	}
	k.body = tagged(k.tag, s.size())
	if len(k.items) > 0 {
		k.body = nil
	}
	flag, payload, bad := s.payload(k.body, true)
	k.bad = bad
	rest := s.cut(&k.queue, FlagResponse, k.seq, payload)
	s.answer(k, s.bytesOf(FlagResponse|flag, k.seq, "", rest))
}

// answer queues the response of a call.
func (s *session) answer(k *theirCall, p []byte) {
	k.closing = true
	k.queue = append(k.queue, sessOut{p: p, then: func() {
		delete(s.theirs, k.seq)
		if k.local == nil && k.tag != 0 && len(k.bad) == 0 && k.code == "" && len(k.items) == 0 {
			s.answers[k.tag] = k.body
		}
		if k.local == nil {
			s.looseCall(k.tag)
		}
	}})
	s.pump()
}

// looseCall allows any error to the call of a handler that called back and wasn't answered as it should be.
func (s *session) looseCall(tag byte) {
	if _, ok := s.answers[tag]; ok {
		return
	}
	for _, k := range s.ours {
		if k.tag == tag {
			k.mayBad = append(k.mayBad, BadRequest, TooLong, Canceled, Code(fmt.Sprint("E_", tag)), "")
		}
	}
}

// appendPacketOf makes a packet, whatever its payload.
func appendPacketOf(flag Flag, seq uint16, code string, payload []byte) []byte {
	return append(appendHeader(nil, flag, seq, code, nil, len(payload)), payload...)
}

// doAnswerItem answers a call of the end under test with an item.
func (s *session) doAnswerItem() {
	k := s.pickTheirs()
	if k == nil {
		return
	}
	body := tagged(k.tag, s.size())
	flag, payload, bad := s.payload(body, true)
	it := sessItem{data: body}
	if len(bad) > 0 {
		it.bad, it.data = bad[0], nil
	}
	rest := s.cut(&k.queue, FlagResponse, k.seq, payload)
	k.items = append(k.items, it)
	if k.local == nil {
		s.looseCall(k.tag)
	}
	k.queue = append(k.queue, sessOut{p: s.bytesOf(FlagStream|FlagResponse|flag, k.seq, itemCode, rest), cost: flow.Cost(len(rest))})
	s.pump()
}

// doLocalCancel gives up a call of the end under test.
func (s *session) doLocalCancel() {
	if n := int(s.byte()); len(s.local) > 0 {
		l := s.local[n%len(s.local)]
		if !l.isDone() {
			l.gaveUp = true
		}
		l.cancel()
	}
}

// doCredit grants credit that isn't due.
func (s *session) doCredit() {
	n := pick(s, 1, 1000, 1<<20)
	kind := s.byte()
	if kind%3 == 0 {
		s.budget += n
		s.send(Packet{Flag: FlagStream, Code: creditCode, Payload: sessUvarint(uint64(n))})
		return
	}
	if kind%3 == 1 {
		if k := s.pickOurs(func(k *ourCall) bool { return k.complete && !k.oneWay }); k != nil {
			k.budget += n
			s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: creditCode, Payload: sessUvarint(uint64(n))})
		}
		return
	}
	if k := s.pickTheirs(); k != nil {
		k.budget += n
		s.send(Packet{Flag: FlagStream | FlagResponse, Sequence: k.seq, Code: creditCode, Payload: sessUvarint(uint64(n))})
	}
}

// doStray sends a frame of a call that isn't open.
func (s *session) doStray() {
	code := pick(s, "", "+", "e", "c", "w", "zzz", "\x01\x05")
	payload := tagged(sessTags, s.size()%900)
	if code == "w" {
		payload = sessUvarint(100)
	}
	switch s.byte() % 4 {
	case 0: // of the peer's calls
		s.send(Packet{Flag: FlagStream, Sequence: s.unusedSeq(), Code: code, Payload: payload})
	case 1: // of calls of the end under test
		s.send(Packet{Flag: FlagStream | FlagResponse, Sequence: 0x7F00, Code: code, Payload: payload})
	case 2:
		s.send(Packet{Flag: FlagResponse, Sequence: 0x7F00, Code: code, Payload: payload})
	default: // a verb that there isn't, of a call that is open
		if k := s.pickOurs(func(k *ourCall) bool { return k.begun && !k.fenced }); k != nil {
			s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: "verb", Payload: payload})
		}
	}
}

func (s *session) unusedSeq() uint16 { return 50000 + uint16(s.byte()) }

// doLong sends a packet that is longer than they may be.
func (s *session) doLong() {
	n := sessFrame + 1 + int(s.byte())*20
	if s.byte()%2 == 0 {
		if cost := flow.Cost(n); cost <= s.credit {
			s.credit -= cost
			s.raw(appendPacketOf(0, 0, "/note", make([]byte, n)))
		}
		return
	}
	if k := s.newCall(sessPaths[0]); k != nil {
		k.bad, k.complete, k.begun = []Code{TooLong}, true, true
		s.raw(appendPacketOf(FlagWait, k.seq, "/echo", make([]byte, n)))
	}
}

// doPause has the peer read nothing for a while, or go on.
func (s *session) doPause() {
	on := s.byte()%2 == 0
	s.wire.pause(on)
	s.choked = s.choked || on
	s.mayEnd = s.mayEnd || on // when too many answers wait
}

// doSleep lets time pass.
func (s *session) doSleep() {
	time.Sleep(pick(s, time.Millisecond, time.Second, 2*time.Second, 12*time.Second, 40*time.Second))
	s.late, s.mayEnd = true, true // for answers that don't come
	s.sync()
}

// doTeach calls a path by a learned code.
func (s *session) doTeach() {
	i := int(s.byte()) % 8
	path := pick(s, sessPaths[0], sessPaths[2], sessPaths[4], sessPaths[8])
	if s.choked {
		return
	}
	k := s.newCall(path)
	if k == nil {
		return
	}
	code := string([]byte{learnedMark, byte(firstLearned + i)})
	if s.taught[i] != path.path {
		s.taught[i] = path.path
		code += path.path
	}
	k.msg = tagged(k.tag, s.size()%1000)
	k.begun, k.complete = true, true
	s.raw(s.bytesOf(FlagWait|FlagMeta, k.seq, code, append([]byte{2, 4, 0}, k.msg...)))
}

// doBye asks for no new calls, from either end.
func (s *session) doBye() {
	if s.byte()%2 == 0 {
		s.send(Packet{Code: byePath, Payload: []byte(pick(s, "", `{"code":"BYE_BYE","message":"m"}`, "x"))})
	}
	s.drained = true
	s.looseAll()
	if s.byte()%2 == 0 && s.srv != nil {
		s.mayEnd = true
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		go func() {
			defer cancel()
			_ = s.srv.Shutdown(ctx)
		}()
	}
}

// looseAll allows handlers that call or push to fail as nothing is taken any more.
func (s *session) looseAll() {
	for _, p := range s.ours {
		p.mayBad = append(p.mayBad, "BYE_BYE")
	}
}

// doZipCode calls a path by a compressed code.
func (s *session) doZipCode() {
	path := strings.Repeat("/abc", 30)
	out, ok := s.zip.AppendCode(nil, path, pick(s, compress.Flate, compress.Zstd))
	if !ok {
		s.fail("a code isn't compressed")
	}
	k := s.newCall(&sessPath{path: path, prompt: true, want: fails(NotFound)})
	if k == nil {
		return
	}
	if s.byte()%2 == 0 {
		out = append(out[:len(out)/2:len(out)/2], 3, 3)
		k.mayBad = append(k.mayBad, BadRequest)
	}
	k.begun, k.complete = true, true
	s.raw(s.bytesOf(FlagWait|FlagZipCode, k.seq, string(out), nil))
}

// doViolate breaks a rule for which the connection is closed.
func (s *session) doViolate() {
	s.sync()
	if s.closed || s.wild != "" || s.choked || s.drained {
		return
	}
	late := func(k *ourCall) bool {
		return k.path.path == "/late" && k.stream && k.complete && !k.canceled && len(k.bad) == 0 && len(k.queue) == 0 && k.budget > 0
	}
	hold := func(k *ourCall) bool {
		return (k.path.path == "/hold" || late(k)) && k.complete && !k.canceled && len(k.bad) == 0
	}
	var k *ourCall
	switch s.byte() % 16 {
	case 0:
		s.doomed = "a credit that is no uvarint"
		s.raw(appendPacketOf(FlagStream, s.unusedSeq(), creditCode, pick(s, nil, []byte{0x80}, []byte{1, 1})))
	case 1:
		s.doomed = "too much credit for messages"
		s.send(Packet{Flag: FlagStream, Code: creditCode, Payload: sessUvarint(flow.Max + 1)})
	case 2:
		if k = s.pickOurs(hold); k != nil {
			s.doomed = "too much credit for a call"
			s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: creditCode, Payload: sessUvarint(1<<63 + 1)})
		}
	case 3:
		if k = s.pickOurs(hold); k != nil {
			s.doomed = "a sequence twice"
			s.send(rawRequest(k.seq, "/echo", "1"))
		}
	case 4:
		if k = s.pickOurs(hold); k != nil {
			s.doomed = "a piece for a sequence that is open"
			s.send(Packet{Flag: FlagStream | FlagWait, Sequence: k.seq, Code: pieceCode, Payload: []byte("x")})
		}
	case 5:
		s.doomed = "a piece for sequence 0"
		s.send(Packet{Flag: FlagStream | FlagWait, Code: pieceCode, Payload: []byte("x")})
	case 6:
		s.doomed = "a piece with metadata"
		s.send(Packet{Flag: FlagStream | FlagWait, Sequence: s.unusedSeq(), Code: pieceCode, Meta: []byte{77, 0}})
		for _, k := range s.ours {
			if !k.fenced {
				s.doomed += fmt.Sprint(" ", k.seq)
			}
		}
	case 7:
		if k = s.pickOurs(late); k != nil {
			if k.ended {
				s.doomed = "an item after the end"
				s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: itemCode, Payload: []byte("x")})
			} else if k.credit > 100 {
				s.doomed = "an end within an item"
				s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: pieceCode, Payload: []byte("x")})
				s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: endCode})
			}
		}
	case 8:
		if k = s.pickOurs(late); k != nil && !k.ended {
			s.doomed = "items beyond the credit"
			for range 1 + k.credit/1000 {
				s.send(Packet{Flag: FlagStream, Sequence: k.seq, Code: itemCode, Payload: make([]byte, 1000)})
			}
		}
	case 9:
		s.doomed = "a long code"
		s.raw(append([]byte{0, 0, 0}, strings.Repeat("x", maxCodeLen+1)...))
	case 10:
		s.doomed = "a learned code that there isn't"
		s.send(rawRequest(s.unusedSeq(), pick(s, "\x01", "\x01\x01", "\x01\x80/a", "\x01\x70", "\x01\x02\x01/"), ""))
	case 11:
		s.doomed = "a payload beyond all limits"
		s.raw(appendHeader(nil, FlagWait, s.unusedSeq(), "/echo", nil, 17*sessFrame))
	case 12:
		s.doomed = "a long frame"
		s.raw(appendHeader(nil, pick(s, FlagStream, FlagStream|FlagResponse), s.unusedSeq(), pick(s, "", "+", "w"), nil, sessFrame+1))
	case 13:
		n := 0
		for len(s.ours) < 40 && n <= sessCalls {
			s.send(Packet{Flag: FlagWait, Sequence: s.freshSeq(), Code: "/hold"})
			n++
		}
		s.doomed = "too many calls"
	case 14:
		n := 0
		for n <= sessMessages/1000 {
			s.send(Packet{Code: "/none", Payload: make([]byte, sessPart)})
			n++
		}
		s.wild = "messages beyond the credit, unless it is returned in time"
	default:
		var open []uint16
		for _, seq := range sortedKeys(s.theirs) {
			if !s.theirs[seq].half {
				open = append(open, seq)
			}
		}
		if len(open) > 0 {
			s.doomed = "too much credit for a call of the other end"
			s.send(Packet{Flag: FlagStream | FlagResponse, Sequence: open[0], Code: creditCode, Payload: sessUvarint(1 << 40)})
		}
	}
	if s.doomed != "" {
		s.note("!! %s", s.doomed)
		s.endOfKnowledge()
	}
}

// endOfKnowledge has the rest of the session not be looked at but for the end.
func (s *session) endOfKnowledge() {
	doomed := s.doomed
	s.wild = doomed
	s.sync()
	if !s.closed {
		s.wild, s.doomed = "", ""
		s.fail("the connection is open still after %s", doomed)
	}
	s.at = len(s.prog)
}

// doGarbage sends bytes that are no packets, or packets that are no use.
func (s *session) doGarbage() {
	s.sync()
	s.wild = "garbage"
	how := s.byte()
	n := 1 + int(s.byte())
	b := make([]byte, n)
	switch how % 4 {
	case 0:
		r := rand.New(rand.NewPCG(uint64(how), uint64(n)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 1: // the program itself
		b = slices.Clone(s.prog[min(s.at, len(s.prog)):])
	case 2: // packets with flags of all kinds
		r := rand.New(rand.NewPCG(uint64(how), uint64(n)))
		b = nil
		for range n {
			codes := []string{"/echo", "/pass", "+", "e", "c", "w", "", "\x01\x02/a", "\x01\x02", "fly.ping", "/hold", "/join", "/late", "/call"}
			flag := Flag(r.Uint32()) & 0xFC
			if r.IntN(4) > 0 {
				flag &^= zipBits | FlagMeta
			}
			if r.IntN(2) > 0 {
				flag &^= FlagResponse
			}
			b = append(b, appendPacketOf(flag, uint16(r.IntN(12)), codes[r.IntN(len(codes))], make([]byte, r.IntN(40)))...)
		}
	default: // a packet that is cut
		p := appendPacketOf(FlagWait, 99, "/echo", tagged(1, 300))
		b = p[:min(n, len(p)-1)]
		s.raw(b)
		_ = s.wire.conn.CloseWrite()
		return
	}
	s.raw(b)
}

// doClose ends the connection in the midst of it.
func (s *session) doClose() {
	if s.byte()%2 == 0 {
		s.sync()
	}
	s.mayEnd, s.wild = true, "the end"
	switch s.byte() % 5 {
	case 0:
		_ = s.wire.conn.CloseWrite()
	case 1:
		s.wire.conn.Reset()
	case 2:
		s.wire.close()
	case 3:
		s.c.Close()
	default:
		s.wire.conn.CloseAfter(int64(s.byte()))
		s.send(rawRequest(60000, "/echo", strings.Repeat("x", 300)))
	}
	s.at = len(s.prog)
}

// settle moves all that is open towards its end and returns how much is open.
func (s *session) settle() (open int) {
	for _, seq := range sortedKeys(s.ours) {
		k := s.ours[seq]
		open++
		if takesItems(k) {
			s.end(k)
		}
	}
	for _, seq := range sortedKeys(s.theirs) {
		k := s.theirs[seq]
		open++
		if k.half || k.closing {
			continue
		}
		k.body = nil
		if len(k.items) == 0 {
			k.body = tagged(k.tag, min(100, s.size()))
		}
		s.answer(k, s.bytesOf(FlagResponse|FlagMeta, k.seq, "", append([]byte{2, 4, 0}, k.body...)))
	}
	for _, l := range s.local {
		if !l.isDone() {
			open++
		}
	}
	s.conf.policy = 0
	s.pump()
	return open + len(s.pongs)
}

// left says what is open.
func (s *session) left() string {
	var b strings.Builder
	for _, k := range s.ours {
		fmt.Fprintf(&b, "call %d of %s: complete %v, fenced %v, canceled %v, %d queued, credit %d, budget %d, due %d; ", k.seq, k.path.path, k.complete, k.fenced, k.canceled, len(k.queue), k.credit, k.budget, k.due)
	}
	for _, k := range s.theirs {
		fmt.Fprintf(&b, "their %d: half %v, canceled %v, %d queued, credit %d, budget %d, due %d; ", k.seq, k.half, k.canceled, len(k.queue), k.credit, k.budget, k.due)
	}
	for _, l := range s.local {
		if !l.isDone() {
			fmt.Fprintf(&b, "local %d of kind %d; ", l.tag, l.kind)
		}
	}
	return b.String()
}
