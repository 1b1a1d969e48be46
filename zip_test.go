package flyrpc

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
)

type zipMessage struct {
	Name string
	List []int
}

// zipText is text that becomes much smaller.
var zipText = strings.Repeat("FlyRPC inflates what the other end has compressed. ", 400)

// noise is text that doesn't become smaller.
func noise(n int) string {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return string(b)
}

// wireLog notes the packets that a connection reads, as they come.
type wireLog struct {
	mu   sync.Mutex
	pkts []Packet
}

func (l *wireLog) note(p *Packet) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pkts = append(l.pkts, *p)
	return false
}

func (l *wireLog) take() []Packet {
	l.mu.Lock()
	defer l.mu.Unlock()
	pkts := l.pkts
	l.pkts = nil
	return pkts
}

// zipPair is a pair with routes and a log of what each end reads.
func zipPair(t *testing.T, so *ServerOpts, co *ClientOpts) (p *pair, atServer, atClient *wireLog) {
	p = newPair(t, so, co, func(srv *Server, cli *Client) {
		for _, r := range []Registrar{srv, cli} {
			r.registrar().OnMessage("/msg", func(m *zipMessage) *zipMessage { return m })
			r.registrar().OnMessage("/text", func(s string) string { return s })
			r.registrar().OnMessage("/plain", func(s string) string { return s }, NoCompress)
			r.registrar().OnMessage("/packet", func(ctx *Context) (string, error) {
				pkt := ctx.Packet()
				if pkt.Flag&zipBits != 0 {
					return "", Errorf(Internal, "flags %#x", uint8(pkt.Flag))
				}
				return string(pkt.Payload), nil
			})
		}
	})
	atServer, atClient = new(wireLog), new(wireLog)
	p.sc.OnRawPacket(atServer.note)
	p.cc.OnRawPacket(atClient.note)
	return p, atServer, atClient
}

func TestZipEverySort(t *testing.T) {
	for _, method := range []ZipMethod{ZipZstd, ZipFlate} {
		for _, ser := range []serializer.Serializer{msgpack.Serializer, jsonser.Serializer} {
			zip := Zip{Body: method}
			p, atServer, atClient := zipPair(t, &ServerOpts{Zip: zip}, &ClientOpts{Zip: zip, Serializer: ser})
			m := zipMessage{zipText, make([]int, 1000)}
			for _, c := range []*Conn{p.cc, p.sc} {
				got, err := Call[zipMessage](t.Context(), c, "/msg", m)
				if err != nil || got.Name != m.Name || len(got.List) != 1000 {
					t.Fatalf("%v: %v", method, err)
				}
				for _, path := range []string{"/text", "/packet"} {
					if got, err := Call[string](t.Context(), c, path, zipText); err != nil || got != zipText {
						t.Fatalf("%v, %s: %d bytes, %v", method, path, len(got), err)
					}
				}
				pkt, err := c.SendRequest(t.Context(), "/text", []byte(zipText))
				if err != nil || string(pkt.Payload) != zipText || pkt.Flag&zipBits != 0 {
					t.Fatalf("%v: %v", method, err)
				}
			}
			for _, l := range []*wireLog{atServer, atClient} {
				pkts := l.take()
				if len(pkts) != 8 {
					t.Fatalf("%d packets", len(pkts))
				}
				for _, pkt := range pkts {
					isZstd := bytes.HasPrefix(pkt.Payload, []byte{0x28, 0xB5, 0x2F, 0xFD})
					if pkt.Flag&FlagZipPayload == 0 || len(pkt.Payload) > len(zipText)/10 || isZstd != (method == ZipZstd) {
						t.Errorf("%v: flags %#x, %d bytes, zstd %v", method, uint8(pkt.Flag), len(pkt.Payload), isZstd)
					}
				}
			}
		}
	}
}

func TestZipWhatAndWhatNot(t *testing.T) {
	p, atServer, atClient := zipPair(t, &ServerOpts{Zip: Zip{Body: ZipZstd, MinBody: 100}}, &ClientOpts{Zip: Zip{Body: ZipFlate}})
	for _, tt := range []struct {
		path, text      string
		request, answer bool
	}{
		{"/text", zipText, true, true},
		{"/plain", zipText, true, false},
		{"/text", zipText[:DefaultMinBody], true, true},
		{"/text", zipText[:DefaultMinBody-1], false, true},
		{"/text", zipText[:99], false, false},
		{"/text", noise(5000), false, false},
		{"/text", noise(100_000), false, false},
		{"/text", zipText + noise(1000), true, true},
	} {
		if got, err := Call[string](t.Context(), p.cli, tt.path, tt.text); err != nil || got != tt.text {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if zipped := atServer.take()[0].Flag&FlagZipPayload != 0; zipped != tt.request {
			t.Errorf("%s with %d bytes: the request is compressed: %v", tt.path, len(tt.text), zipped)
		}
		if zipped := atClient.take()[0].Flag&FlagZipPayload != 0; zipped != tt.answer {
			t.Errorf("%s with %d bytes: the answer is compressed: %v", tt.path, len(tt.text), zipped)
		}
	}
	if err := p.srv.Broadcast("/text", zipText); err != nil {
		t.Error(err)
	}
	if !eventually(func() bool { ps := atClient.take(); return len(ps) > 0 && ps[0].Flag&FlagZipPayload != 0 }) {
		t.Error("a broadcast is not compressed")
	}
}

func TestZipCodes(t *testing.T) {
	long := "/" + strings.Repeat("segment/", 60) + "end"
	p, atServer, _ := zipPair(t, nil, &ClientOpts{Zip: Zip{Code: ZipZstd}})
	p.srv.OnMessage(long, func(ctx *Context) string { return ctx.Path() })
	var seen string
	p.sc.OnPacket(func(pkt *Packet) bool { seen = pkt.Code; return false })
	for range 3 {
		if got, err := Call[string](t.Context(), p.cli, long, nil); err != nil || got != long {
			t.Fatalf("%q, %v", got, err)
		}
		if pkt := atServer.take()[0]; pkt.Flag&FlagZipCode == 0 || len(pkt.Code) > len(long)/4 || seen != long {
			t.Errorf("flags %#x, a code of %d bytes; OnPacket sees %.20q", uint8(pkt.Flag), len(pkt.Code), seen)
		}
		if _, err := Call[string](t.Context(), p.cli, "/text", "x"); err != nil {
			t.Fatal(err)
		}
		if pkt := atServer.take()[0]; pkt.Flag&FlagZipCode != 0 {
			t.Error("a short path is compressed")
		}
	}
}

// TestZipAsOffered has peers offer to inflate nothing, one method, and unknown ones.
func TestZipAsOffered(t *testing.T) {
	for offer, want := range map[string]bool{`[]`: false, `["lzw","flate"]`: false, `["zstd"]`: true, `["flate","zstd"]`: true} {
		srv, _ := newLogServer(t, &ServerOpts{Zip: Zip{Body: ZipZstd}})
		srv.OnMessage("/text", func() string { return zipText })
		p := rawClient(t, srv, `{"flyrpc":2,"serializers":["json"],"frame":1000000,"inflate":`+offer+`}`)
		p.send(rawRequest(1, "/text", ""))
		if pkt := p.recv(); pkt.Flag&FlagZipPayload != 0 != want {
			t.Errorf("to a peer that inflates %s the answer is compressed: %v", offer, !want)
		}
	}
	srv, _ := newLogServer(t, &ServerOpts{Zip: Zip{Body: ZipZstd}, V1Serializer: jsonser.Serializer})
	srv.OnMessage("/text", func() string { return zipText })
	w := wireTo(t, srv)
	w.request(1, "/text", "null")
	if pkt := w.recv(); pkt.Flag != FlagResponse || len(pkt.Payload) != len(zipText) {
		t.Errorf("a version 1 peer gets flags %#x and %d bytes", uint8(pkt.Flag), len(pkt.Payload))
	}
}

// zipped returns text compressed.
func zipped(t *testing.T, text string, m compress.Method) string {
	out, ok := new(compress.Codec).Append(nil, []byte(text), m)
	if !ok {
		t.Fatal("the text doesn't become smaller")
	}
	return string(out)
}

// TestZipFromPeer has a peer send what is compressed well, badly, and too well.
func TestZipFromPeer(t *testing.T) {
	srv, log := newLogServer(t, &ServerOpts{MaxMessage: 100_000})
	handled := 0
	srv.OnMessage("/text", func(b []byte) int { handled++; return len(b) })
	p := rawClient(t, srv, textHello)
	raw := AppendMeta(nil, MetaSerializer, "", rawBytes)
	good, bomb := zipped(t, zipText, compress.Flate), zipped(t, strings.Repeat("\x00", 100_001), compress.Zstd)
	code, ok := new(compress.Codec).AppendCode(nil, strings.Repeat("/no", 100), compress.Zstd)
	if !ok {
		t.Fatal("the path doesn't become smaller")
	}
	inner, _ := new(compress.Codec).AppendCode(nil, "\x01\x02"+strings.Repeat("/no", 100), compress.Zstd)
	for i, tt := range []struct {
		flag       Flag
		path, body string
		want       string
	}{
		{FlagZipPayload, "/text", good, "20400"},
		{FlagZipPayload, "/text", zipped(t, zipText, compress.Zstd), "20400"},
		{FlagZipPayload, "/text", good[:len(good)-1], "BAD_REQUEST the message can't be inflated"},
		{FlagZipPayload, "/text", good + "x", "BAD_REQUEST the message can't be inflated"},
		{FlagZipPayload, "/text", "", "BAD_REQUEST the message can't be inflated"},
		{FlagZipPayload, "/text", bomb, "BUFF_TOO_LONG the message inflates to more than the 100000 bytes"},
		{FlagZipCode, string(code), "1", "NOT_FOUND no handler for \"/no/no"},
		{FlagZipCode, "/text", "1", "BAD_REQUEST the code can't be inflated"},
		{FlagZipCode, string(inner), "1", "BAD_REQUEST the code, when inflated, begins like a learned code"},
		{0, "/text", "12345", "5"},
		// Written by hand: a stored block of flate, and one that is stuffed.
		{FlagZipPayload, "/text", "\x01\x02\x00\xfd\xffhi", "2"},
		{FlagZipCode, "\x03\x01\x02\x05\xfd\xff/a", "1", "NOT_FOUND no handler for \"/a\""},
	} {
		p.send(Packet{Flag: FlagWait | FlagMeta | tt.flag, Sequence: uint16(i + 1), Code: tt.path, Meta: raw, Payload: []byte(tt.body)})
		a := p.recv()
		got := strings.TrimSpace(a.Code + " " + string(a.Payload))
		if int(a.Sequence) != i+1 || !strings.HasPrefix(got, tt.want) || metaHas(a, MetaNotProcessed) != (a.Code != "") {
			t.Errorf("%d: %d %q, want %q", i, a.Sequence, got, tt.want)
		}
	}
	if handled != 4 {
		t.Errorf("the handler ran %d times, want 4", handled)
	}
	p.send(Packet{Flag: FlagZipCode, Code: "/text"}, Packet{Flag: FlagZipPayload, Code: "/text", Payload: []byte("x")}, rawRequest(99, "fly.ping", ""))
	if a := p.recv(); a.Sequence != 99 {
		t.Errorf("%+v", a)
	}
	log.want(t, "the code can't be inflated")
}

// TestZipAnswersFromPeer has a peer answer with what can't be inflated.
func TestZipAnswersFromPeer(t *testing.T) {
	p, cli, _ := rawServer(t, &ClientOpts{MaxMessage: 1000}, jsonAnswer(10))
	bomb := zipped(t, strings.Repeat("\x00", 1001), compress.Flate)
	for _, tt := range []struct {
		flag Flag
		code string
		body string
		want Code
	}{
		{FlagZipPayload, "", "damaged", BadRequest},
		{FlagZipPayload, "", bomb, TooLong},
		{FlagZipCode, "damaged", "text", BadRequest},
	} {
		pending := cli.Go(bounded(t), "/x", nil, new(string))
		req := p.recv()
		p.send(Packet{Flag: FlagResponse | tt.flag, Sequence: req.Sequence, Code: tt.code, Payload: []byte(tt.body)})
		wantFailed(t, pending.Err(), tt.want, Answered)
		raw := make(chan error, 1)
		go func() {
			_, err := cli.Conn().SendRequest(bounded(t), "/x", nil)
			raw <- err
		}()
		req = p.recv()
		p.send(Packet{Flag: FlagResponse | tt.flag, Sequence: req.Sequence, Code: tt.code, Payload: []byte(tt.body)})
		if err := await1(t, raw, "the call"); !errors.Is(err, tt.want) {
			t.Error(err)
		}
	}
}

// TestZipBesidesLoneCaller has a lone caller read compressed answers.
func TestZipBesidesLoneCaller(t *testing.T) {
	up, down := tcpPair(t)
	p := new(pair)
	zip := Zip{Body: ZipZstd}
	p.connect(t, up, down, &ServerOpts{Zip: zip}, &ClientOpts{Zip: zip}, func(srv *Server, _ *Client) { register(srv) })
	alone := eventually(func() bool { // unless the watcher takes a slow caller for one that is gone
		p.makeLone(t)
		before := p.cc.turn.n.Load()
		for range 10 {
			p.echo(t, p.cc, zipText[:4096])
		}
		return p.cc.turn.idle() && p.cc.turn.n.Load() >= before+20
	})
	if !alone {
		t.Error("compressed answers end a lone caller's reading")
	}
}

// TestZipMessageLimit has a message that is over the limit as it is, and below it compressed.
func TestZipMessageLimit(t *testing.T) {
	p, _, _ := zipPair(t, &ServerOpts{MaxMessage: 10_000}, &ClientOpts{Zip: Zip{Body: ZipZstd}})
	if _, err := Call[string](t.Context(), p.cli, "/text", zipText[:10_001]); !errors.Is(err, TooLong) || Outcome(err) != NotSent {
		t.Error(err)
	}
	if _, err := Call[string](t.Context(), p.cli, "/text", zipText[:10_000]); err != nil {
		t.Error(err)
	}
}

// TestZipPackets has whole packets sent at both of the lower levels.
func TestZipPackets(t *testing.T) {
	p, atServer, _ := zipPair(t, nil, &ClientOpts{Zip: Zip{Body: ZipFlate}})
	seen := new(wireLog)
	p.sc.OnPacket(seen.note)
	body := []byte(zipped(t, zipText, compress.Zstd))
	for _, err := range []error{
		p.cc.SendPacket(&Packet{Flag: FlagZipPayload, Code: "/text", Payload: []byte(zipText)}),
		p.cc.SendRawPacket(&Packet{Flag: FlagZipPayload, Code: "/text", Payload: body}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.cc.Ping(0, patience); err != nil {
		t.Fatal(err)
	}
	raws := atServer.take()
	for i, pkt := range seen.take()[:2] {
		if pkt.Flag != 0 || string(pkt.Payload) != zipText {
			t.Errorf("OnPacket sees flags %#x and %d bytes", uint8(pkt.Flag), len(pkt.Payload))
		}
		raw := raws[i]
		if raw.Flag != FlagZipPayload || len(raw.Payload) > 1000 || i == 1 && !bytes.Equal(raw.Payload, body) {
			t.Errorf("OnRawPacket sees flags %#x and %d bytes", uint8(raw.Flag), len(raw.Payload))
		}
	}
}

func TestZipMethodNames(t *testing.T) {
	for m, want := range map[ZipMethod]string{ZipNone: "none", ZipFlate: "flate", ZipZstd: "zstd", 77: "none"} {
		if m.String() != want {
			t.Errorf("%d is %q, want %q", m, m, want)
		}
	}
}
