package flyrpc

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// wireHandlers registers handlers for raw peers, which speak JSON.
func wireHandlers(srv *Server) {
	streamHandlers(srv)
	srv.OnMessage("/none", func(n int) int { return n })
	srv.OnMessage("/wait", func(ctx *Context) error { <-ctx.Done(); return ctx.Err() })
	srv.OnMessage("/note", func(b []byte) { panic("a note came") })
	srv.OnMessage("/fail", func(s *Stream) error { return Errorf(Conflict, "no") })
	srv.OnMessage("/last", func(s *Stream) (int, error) { return 9, s.Send(8) })
	srv.OnMessage("/all", func(items iter.Seq2[int, error]) ([]string, error) {
		var all []string
		for n, err := range items {
			if err != nil {
				return append(all, err.Error()), nil
			}
			all = append(all, fmt.Sprint(n))
		}
		return all, nil
	})
	srv.OnMessage("/each", func(s *Stream) ([]string, error) {
		var all []string
		for {
			var v int
			err := s.Recv(&v)
			if err == io.EOF {
				return all, nil
			}
			if err == nil {
				all = append(all, fmt.Sprint(v))
			} else {
				all = append(all, fmt.Sprint(err.(*Error).Code))
			}
			if err != nil && !errors.Is(err, BadRequest) && !errors.Is(err, TooLong) {
				return all, nil
			}
		}
	})
}

// wireCase is what a raw peer sends, and what it gets.
type wireCase struct {
	name   string
	send   []Packet
	want   []Packet // credit is left out
	broken bool     // the connection is closed then
}

// withMeta returns p with a metadata entry.
func withMeta(p Packet, id MetaID, value string) Packet {
	p.Meta = AppendMeta(p.Meta, id, "", value)
	p.Flag |= FlagMeta
	return p
}

// opens is the packet that opens a call with items.
func opens(seq uint16, path, message string) Packet { return frameOfCall(opening, seq, path, message) }

// sent and got are items of the caller and of the callee.
func sent(seq uint16, body string) Packet { return frameOfCall(fromCaller, seq, itemCode, body) }
func got(seq uint16, body string) Packet  { return frameOfCall(fromCallee, seq, itemCode, body) }

// refused is an error response.
func refused(seq uint16, code Code, message string) Packet {
	return Packet{Flag: FlagResponse, Sequence: seq, Code: string(code), Payload: []byte(message)}
}

func endFrame(seq uint16) Packet { return frameOfCall(fromCaller, seq, endCode, "") }

// wireCases are conversations of one packet after the other, before which nothing else waits.
func wireCases() []wireCase {
	return []wireCase{
		{"items out", []Packet{rawRequest(1, "/count", "2")}, []Packet{got(1, "1"), got(1, "2"), rawAnswer(1, "")}, false},
		{"no items out", []Packet{rawRequest(1, "/count", "0")}, []Packet{rawAnswer(1, "")}, false},
		{"items in", []Packet{opens(1, "/sum", ""), sent(1, "1"), sent(1, "2"), endFrame(1)}, []Packet{rawAnswer(1, "3")}, false},
		{"no items in", []Packet{opens(1, "/sum", ""), endFrame(1)}, []Packet{rawAnswer(1, "0")}, false},
		{"no items promised", []Packet{rawRequest(1, "/sum", "")}, []Packet{rawAnswer(1, "0")}, false},
		{"both", []Packet{opens(1, "/pass", ""), sent(1, "1"), sent(1, `"a"`), endFrame(1)}, []Packet{got(1, "1"), withMeta(got(1, "a"), MetaSerializer, "t"), rawAnswer(1, "")}, false},
		{"a last item", []Packet{opens(1, "/last", "")}, []Packet{got(1, "8"), got(1, "9"), rawAnswer(1, "")}, false},
		{"error after items", []Packet{rawRequest(1, "/torn", "1")}, []Packet{withMeta(got(1, "line 1"), MetaSerializer, "t"), refused(1, Conflict, "torn")}, false},
		{"error", []Packet{opens(1, "/fail", "")}, []Packet{refused(1, Conflict, "no")}, false},
		{"raw items", []Packet{rawRequest(1, "/split", "3")}, []Packet{withMeta(got(1, "\x00\x01\x02"), MetaSerializer, ""), rawAnswer(1, "")}, false},
		{
			"raw items in",
			[]Packet{opens(1, "/join", ""), withMeta(sent(1, "ab"), MetaSerializer, ""), withMeta(sent(1, ""), MetaSerializer, ""), withMeta(sent(1, "c"), MetaSerializer, "t"), endFrame(1)},
			[]Packet{withMeta(rawAnswer(1, "abc"), MetaSerializer, "")},
			false,
		},
		{"items that aren't raw", []Packet{opens(1, "/join", ""), sent(1, "1"), endFrame(1)}, []Packet{refused(1, BadRequest, "the items aren't raw: take them with Recv")}, false},
		{"an item of another type", []Packet{opens(1, "/sum", ""), sent(1, `"x"`)}, nil, false},
		{"items for one that takes none", []Packet{opens(1, "/none", "5"), sent(1, "1"), sent(1, "2"), endFrame(1)}, []Packet{rawAnswer(1, "5")}, false},
		{"an item after e", []Packet{opens(1, "/wait", ""), endFrame(1), sent(1, "1")}, nil, true},
		{"an item after e, taken", []Packet{opens(1, "/unread", ""), endFrame(1), sent(1, "1")}, nil, true},
		{"a piece after e", []Packet{opens(1, "/unread", ""), endFrame(1), frameOfCall(fromCaller, 1, pieceCode, "1")}, nil, true},
		{"e within an item", []Packet{opens(1, "/unread", ""), frameOfCall(fromCaller, 1, pieceCode, "1"), endFrame(1)}, nil, true},
		{"an item of a plain request", []Packet{rawRequest(1, "/wait", ""), sent(1, "1")}, nil, false},
		{"META on a piece", []Packet{opens(1, "/unread", ""), withMeta(frameOfCall(fromCaller, 1, pieceCode, "1"), MetaSerializer, "")}, nil, true},
		{"ZIPPAYLOAD on a piece", []Packet{opens(1, "/unread", ""), frameOfCall(fromCaller|FlagZipPayload, 1, pieceCode, "1")}, nil, true},
		{"META on an opening piece", []Packet{withMeta(frameOfCall(opening, 1, pieceCode, "1"), MetaSerializer, "")}, nil, true},
		{"ZIPPAYLOAD on an opening piece", []Packet{frameOfCall(opening|FlagZipPayload, 1, pieceCode, "1")}, nil, true},
		{"an opening piece of 0", []Packet{frameOfCall(opening, 0, pieceCode, "1")}, nil, true},
		{"an opening piece of an open call", []Packet{rawRequest(1, "/wait", ""), frameOfCall(opening, 1, pieceCode, "1")}, nil, true},
		{"a call with the sequence of an open one", []Packet{opens(1, "/unread", ""), opens(1, "/unread", "")}, nil, true},
		{"frames of 0 and of nobody", []Packet{
			sent(0, "1"), got(0, "1"), sent(7, "1"), got(7, "1"), endFrame(0), endFrame(7), rawCancel(0), rawCancel(7),
			frameOfCall(fromCaller, 7, pieceCode, "1"), frameOfCall(fromCallee, 7, pieceCode, "1"), frameOfCall(fromCallee, 0, pieceCode, "1"),
		}, nil, false},
		{"unknown frames", []Packet{
			opens(1, "/sum", ""), sent(1, "1"), frameOfCall(fromCaller, 1, "x", "?"), frameOfCall(fromCallee, 1, "x", "?"),
			frameOfCall(fromCaller, 1, "ee", ""), sent(1, "2"), endFrame(1),
		}, []Packet{rawAnswer(1, "3")}, false},
		{"payloads of e and c", []Packet{opens(1, "/sum", ""), frameOfCall(fromCaller, 1, endCode, "stuff"), frameOfCall(fromCaller, 9, cancelCode, "stuff")}, []Packet{rawAnswer(1, "0")}, false},
		{"e twice", []Packet{opens(1, "/wait", ""), endFrame(1), endFrame(1)}, nil, false},
		{"one-way to one that streams", []Packet{{Code: "/count", Payload: []byte("3")}, {Code: "/pass"}, {Code: "/split", Payload: []byte("3")}}, nil, false},
		{"a path that doesn't exist", []Packet{opens(1, "/nobody", ""), sent(1, "1"), endFrame(1)}, []Packet{withMeta(refused(1, NotFound, `no handler for "/nobody"`), MetaNotProcessed, "")}, false},
		{"cancelled", []Packet{opens(1, "/each", ""), sent(1, "1"), rawCancel(1)}, nil, false},
		{"an item that can't be decoded", []Packet{opens(1, "/each", ""), sent(1, "1"), sent(1, "?"), sent(1, "3"), endFrame(1)}, []Packet{rawAnswer(1, `["1","BAD_REQUEST","3"]`)}, false},
		{
			"an item with bad metadata",
			[]Packet{opens(1, "/each", ""), {Flag: fromCaller, Sequence: 1, Meta: []byte("\x05\x05"), Payload: []byte("1")}, sent(1, "3"), endFrame(1)},
			[]Packet{rawAnswer(1, `["BAD_REQUEST","3"]`)},
			false,
		},
		{"nil items", []Packet{opens(1, "/each", ""), sent(1, ""), sent(1, ""), endFrame(1)}, []Packet{rawAnswer(1, `["0","0"]`)}, false},
	}
}

// TestStreamWire holds a server to the wire, packet by packet.
func TestStreamWire(t *testing.T) {
	for _, tt := range wireCases() {
		for _, together := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, together %v", tt.name, together), func(t *testing.T) {
				srv := quietServer(t, nil)
				wireHandlers(srv)
				unread(srv)
				w := wireHello(t, srv, "")
				if tt.broken {
					w.wantBroken(tt.send...)
					return
				}
				w.sendAll(together, tt.send...)
				for _, p := range tt.want {
					w.want(p)
				}
				if len(tt.want) > 0 || !strings.Contains("an item of another type, cancelled", tt.name) {
					w.wantAlive()
				}
				synctest.Wait() // without wantAlive hello may still be being answered
				c := srv.Conns()[0]
				w.conn.Close()
				synctest.Wait()
				wantEmpty(t, tt.name, c)
			})
		}
	}
}

// sendAll sends packets, in one write or one after the other.
func (w *wireEnd) sendAll(together bool, ps ...Packet) {
	w.t.Helper()
	var b []byte
	for _, p := range ps {
		one, err := AppendPacket(nil, &p)
		if err != nil {
			w.t.Fatal(err)
		}
		if b = append(b, one...); !together {
			synctest.Wait()
			w.write(b)
			b = nil
		}
	}
	if together {
		w.write(b)
	}
}

// want checks the next packet that isn't credit, byte for byte but for the length field.
func (w *wireEnd) want(p Packet) {
	w.t.Helper()
	for {
		q := w.recv()
		if q.Flag&FlagStream != 0 && q.Code == creditCode {
			continue
		}
		if q.Flag&^3 != p.Flag || q.Sequence != p.Sequence || q.Code != p.Code || !slices.Equal(q.Meta, p.Meta) || !slices.Equal(q.Payload, p.Payload) {
			w.t.Fatalf("got %+v %.300q\nwant %+v %.300q", q, q.Payload, p, p.Payload)
		}
		return
	}
}
