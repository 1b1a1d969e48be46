package flyrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"strconv"

	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/serializer"
)

const (
	// agent is how FlyRPC names itself in hello.
	agent = "flyrpc-go/0.1"
	// maxHello is the largest payload accepted before hello, in bytes.
	maxHello = 16 << 10
	// maxInfo is the most bytes of it that the server's application may take.
	maxInfo = maxHello - 1<<10
	// defaultPeerFrame is the largest payload a peer takes that doesn't say.
	defaultPeerFrame = 64 << 10
	// defaultPeerWindow is the credit that a peer gives at first that doesn't say.
	defaultPeerWindow = 64 << 10
)

// The reserved paths.
const (
	helloPath = "fly.hello"
	pingPath  = "fly.ping"
	byePath   = "fly.bye"
)

// helloMessage is the payload of hello and of its answer. Zero means not said.
type helloMessage struct {
	Version     int             `json:"flyrpc"`
	Agent       string          `json:"agent,omitempty"`
	Serializers []string        `json:"serializers,omitempty"`
	Inflate     []string        `json:"inflate"`
	Message     helloNumber     `json:"message,omitempty"`
	Frame       helloNumber     `json:"frame,omitempty"`
	Calls       helloNumber     `json:"calls,omitempty"`
	Window      helloNumber     `json:"window,omitempty"`
	Messages    helloNumber     `json:"messages,omitempty"`
	Codes       *helloNumber    `json:"codes,omitempty"` // nil means not said
	Keepalive   helloNumber     `json:"keepalive,omitempty"`
	Auth        json.RawMessage `json:"auth,omitempty"`
	Info        json.RawMessage `json:"info,omitempty"`
}

// helloNumber is a limit in hello. It takes any JSON number and cuts what an int can't hold.
type helloNumber int

// UnmarshalJSON sets n to a number; null leaves it alone.
func (n *helloNumber) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%.40s is no number", b)
	}
	switch i, err := strconv.Atoi(string(b)); {
	case err == nil:
		*n = helloNumber(i)
	case f >= math.MaxInt:
		*n = math.MaxInt
	case f <= 0:
		*n = 0 // not said
	default:
		*n = helloNumber(f)
	}
	return nil
}

// parseHello reads the payload of hello or of its answer.
func parseHello(data []byte) (h helloMessage, err error) {
	if err := json.Unmarshal(data, &h); err != nil {
		return helloMessage{}, err
	}
	for _, raw := range []*json.RawMessage{&h.Auth, &h.Info} {
		if string(*raw) == "null" {
			*raw = nil
		}
	}
	return h, nil
}

// ourHello returns what this side says of itself.
func (ep *endpoint) ourHello(sers []serializer.Serializer) helloMessage {
	codes := helloNumber(maxLearned)
	h := helloMessage{
		Version: 2, Agent: agent, Inflate: []string{ZipZstd.String(), ZipFlate.String()},
		Message: helloNumber(ep.limits.maxMessage), Frame: helloNumber(ep.limits.maxFrame),
		Calls: helloNumber(ep.limits.maxCalls), Window: helloNumber(ep.limits.window),
		Messages: helloNumber(ep.limits.messages), Codes: &codes, Keepalive: ep.limits.helloKeepalive(), Info: ep.info,
	}
	for _, s := range sers {
		h.Serializers = append(h.Serializers, s.Name())
	}
	return h
}

// overDatagrams limits a hello of this side to what there is over datagrams.
func (h *helloMessage) overDatagrams(c *datagramConn) {
	none := helloNumber(0)
	h.Window, h.Messages, h.Codes = 0, 0, &none
	h.Frame, h.Calls = min(h.Frame, helloNumber(c.max-datagramHeader)), min(h.Calls, datagramCalls)
}

// overDatagrams limits a mode to what there is over datagrams, and returns it.
func (m *mode) overDatagrams(c *datagramConn) *mode {
	m.whole, m.packet = true, c.max
	m.window, m.messages, m.part, m.codes = 0, 0, 0, 0
	m.maxFrame = min(m.maxFrame, c.max-datagramHeader)
	return m
}

// fits says why a packet can't be sent, if it is larger than those of the connection.
func (m *mode) fits(f *frame) error {
	if m.packet == 0 {
		return nil
	}
	return m.fitsPacket(f)
}

// fitsPacket is fits over datagrams.
func (m *mode) fitsPacket(f *frame) error {
	if n := f.packetLen(); n > m.packet {
		return localErr(TooLong, NotSent, nil, "the packet has %d bytes with its path and metadata, and over UDP at most %d: send it over TCP", n, m.packet)
	}
	return nil
}

// mode returns what a hello of the other end means for the connection.
func (h *helloMessage) mode(ser serializer.Serializer, z Zip) *mode {
	m := &mode{ser: ser, maxMessage: int(h.Message), maxFrame: int(h.Frame), codes: maxLearned}
	if h.Codes != nil {
		m.codes = max(0, min(int(*h.Codes), maxLearned))
	}
	setDefault(&m.maxMessage, DefaultMaxMessage)
	setDefault(&m.maxFrame, defaultPeerFrame)
	m.window, m.messages = int(h.Window), int(h.Messages)
	setDefault(&m.window, defaultPeerWindow)
	setDefault(&m.messages, defaultPeerWindow)
	m.part = min(m.maxFrame, maxPart, flow.Part(m.window))
	m.agreeZip(z, offered(h.Inflate))
	m.keepalive = keepaliveOf(h.Keepalive)
	calls := int(h.Calls)
	setDefault(&calls, DefaultMaxCalls)
	m.peer = PeerInfo{
		Version: 2, Agent: h.Agent, Serializer: ser.Name(), Info: h.Info,
		MaxMessage: m.maxMessage, MaxFrame: m.maxFrame, MaxCalls: min(calls, maxOpenCalls),
	}
	return m
}

// settle makes m the connection's mode.
func (c *Conn) settle(m *mode) {
	m = c.ep.share(m)
	if m.v1 {
		c.proto.out.setSingle()
	}
	c.proto.out.teach(m.codes)
	c.calls.begin(m.peer.MaxCalls, m.whole)
	c.messages.begin(m.messages)
	c.mode.Store(m)
	if m.foreign {
		c.watchFrom(0)
	} else {
		c.watchFrom(c.ep.limits.keepaliveWith(m.keepalive))
	}
}

// kind is what a body of the other end is that doesn't say.
func (m *mode) kind() bodyKind {
	if m.v1 || m.http {
		return plainBody
	}
	return encodedBody
}

// who names the other end in errors about what it doesn't have.
func (m *mode) who() string {
	switch {
	case m.v1:
		return "a version 1 peer"
	case m.foreign:
		return "a peer that speaks " + m.peer.Agent
	case m.packet > 0:
		return "a peer over UDP"
	}
	return m.peer.Agent
}

// share returns the mode of the connection settled last if m says the same, else m.
func (ep *endpoint) share(m *mode) *mode {
	last := ep.mode.Load()
	if last != nil && len(m.peer.Info) == 0 && m.same(last) { // Info is the program's to change
		return last
	}
	ep.mode.Store(m)
	return m
}

// same reports whether two modes of an endpoint say the same. Serializers are told by their names: they are the
// program's, and may change while they are looked into.
func (m *mode) same(other *mode) bool {
	a, b := *m, *other
	a.ser, b.ser = nil, nil
	return reflect.DeepEqual(a, b)
}

// v1Mode is the mode of a connection with a version 1 peer.
func (ep *endpoint) v1Mode() *mode {
	return &mode{
		v1: true, whole: true, foreign: true, ser: ep.v1ser, maxMessage: ep.limits.maxMessage, maxFrame: ep.limits.maxWhole(),
		peer: PeerInfo{Version: 1, Serializer: ep.v1ser.Name(), MaxCalls: ep.limits.maxCalls},
	}
}

// settled returns the connection's mode. A connection that says something before the other end
// has said hello is a version 1 connection from then on.
func (c *Conn) settled() *mode {
	if m := c.mode.Load(); m != nil {
		return m
	}
	c.modeMu.Lock()
	defer c.modeMu.Unlock()
	if m := c.mode.Load(); m != nil {
		return m
	}
	c.settle(c.ep.v1Mode())
	return c.mode.Load()
}

// bodySerializer returns what the serializer entry of a packet's metadata names.
func (ep *endpoint) bodySerializer(value []byte, own serializer.Serializer) (bodyKind, serializer.Serializer, error) {
	switch string(value) {
	case rawBytes:
		return bytesBody, own, nil
	case rawText:
		return textBody, own, nil
	}
	for _, s := range ep.sers {
		if s.Name() == string(value) {
			return encodedBody, s, nil
		}
	}
	return 0, nil, Errorf(BadRequest, "no serializer %q: known here are %v", value, serializerNames(ep.sers))
}

func serializerNames(sers []serializer.Serializer) []string {
	names := make([]string, len(sers))
	for i, s := range sers {
		names[i] = s.Name()
	}
	return names
}

// greet says hello to the accepting end and settles what its answer means. first is
// a packet of a version 1 peer that came instead of the answer, or nil. The caller bounds
// it with a read deadline. errSilent means that nothing came.
func (c *Conn) greet(sers []serializer.Serializer, auth json.RawMessage) (first *received, err error) {
	h := c.ep.ourHello(sers)
	h.Auth = auth
	if c.datagram != nil {
		h.overDatagrams(c.datagram)
	}
	payload, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("flyrpc: hello can't be encoded: %w", err)
	}
	if len(payload) > maxHello {
		return nil, localErr(TooLong, NotSent, nil, "hello has %d bytes, at most %d are accepted: make ClientOpts.Auth and Info smaller", len(payload), maxHello)
	}
	f := frame{flag: FlagWait, seq: helloSequence, code: helloPath, body: payload}
	if c.datagram != nil && f.packetLen() > c.datagram.max {
		return nil, localErr(TooLong, NotSent, nil, "hello has %d bytes, over UDP at most %d: make ClientOpts.Auth and Info smaller", f.packetLen(), c.datagram.max)
	}
	if _, err := c.proto.out.put(context.Background(), &f, false); err != nil {
		return nil, localErr(Unavailable, NotSent, err, "hello was not sent: %v", err)
	}
	p, err := c.proto.in.next()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errSilent
	case errors.Is(err, io.EOF):
		return nil, localErr(Unavailable, NotSent, err, "the other end closed the connection instead of answering hello")
	case err != nil:
		return nil, c.helloFailed(err)
	case p.flag&FlagResponse == 0 || p.seq != helloSequence:
		c.settle(c.ep.v1Mode())
		return &p, nil
	}
	return nil, c.understand(&p, sers)
}

// errSilent means that hello was not answered in time.
var errSilent = errors.New("flyrpc: the other end doesn't answer hello")

// understand settles what the answer to hello means.
func (c *Conn) understand(p *received, sers []serializer.Serializer) error {
	if len(p.code) > 0 && p.flag&FlagMeta != 0 { // version 1 has no metadata
		return c.refusal(p)
	}
	_, data, err := splitMeta(p.flag, p.payload)
	if err != nil {
		return localErr(BadRequest, NotSent, err, "the answer to hello is malformed: %v", err)
	}
	h, err := parseHello(data)
	if len(p.code) > 0 || err != nil || h.Version != 2 {
		if c.datagram != nil {
			return localErr(Unavailable, NotSent, err, "the answer to hello isn't one of version 2, which is all there is over UDP")
		}
		c.settle(c.ep.v1Mode())
		return nil
	}
	for _, s := range sers {
		if len(h.Serializers) == 1 && h.Serializers[0] == s.Name() {
			c.settle(c.modeOf(&h, s))
			return nil
		}
	}
	return localErr(BadRequest, NotSent, nil, "the other end chose the serializers %q, offered were %v", h.Serializers, serializerNames(sers))
}

// modeOf returns what a hello of the other end means for the connection.
func (c *Conn) modeOf(h *helloMessage, ser serializer.Serializer) *mode {
	m := h.mode(ser, c.ep.zipOpts)
	if c.datagram != nil {
		return m.overDatagrams(c.datagram)
	}
	return m
}

// refusal returns the error with which hello was answered.
func (c *Conn) refusal(p *received) error {
	_, data, err := splitMeta(p.flag, p.payload)
	if err != nil {
		return localErr(BadRequest, NotSent, err, "the answer to hello is malformed: %v", err)
	}
	code := Code(p.code)
	return &Error{Code: code, Message: string(data), remote: true, delivery: NotProcessed, cause: c.ep.errors.errorOf(code)}
}

// orderly reports whether a connection that ended for reason ended in order.
func orderly(reason error) bool {
	return reason == nil || errors.Is(reason, net.ErrClosed) || reason == io.EOF
}

// addrString is addr.String() for an address that may be nil.
func addrString(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}
