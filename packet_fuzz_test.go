package flyrpc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzParsePacket checks, for any bytes, that parsing doesn't panic, stays within them, says
// "short" exactly for beginnings, and that what it takes can be written and taken again.
func FuzzParsePacket(f *testing.F) {
	for _, g := range goldens(f) {
		if data := runs(f, g.Hex); len(data) < 10<<10 {
			f.Add(data, g.limit(), uint16(len(data)/2))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, limit uint64, cut uint16) {
		p, n, err := ParsePacket(data, limit)
		if n < 0 || n > len(data) {
			t.Fatalf("n is %d of %d", n, len(data))
		}
		if len(p.Code) > maxCodeLen || bytes.IndexByte([]byte(p.Code), 0) >= 0 {
			t.Fatalf("code of %d bytes: %.40q", len(p.Code), p.Code)
		}
		switch {
		case err == nil:
			checkTaken(t, data[:n], &p, limit)
			if at := int(cut) % n; at < n {
				if _, m, err := ParsePacket(data[:at:at], limit); m != 0 || err != ErrShortPacket {
					t.Fatalf("the first %d of %d bytes: %d, %v", at, n, m, err)
				}
			}
		case errors.Is(err, ErrLongPayload), errors.Is(err, ErrBadMeta):
			if n < minPacketLen {
				t.Fatalf("%v with n = %d", err, n)
			}
		case errors.Is(err, ErrShortPacket), errors.Is(err, ErrLongCode):
			if n != 0 || samePacket(p, Packet{}) != "" {
				t.Fatalf("%v with n = %d and packet %+v", err, n, p)
			}
		default:
			t.Fatalf("undocumented error %v", err)
		}
	})
}

// checkTaken writes a packet that came from data, and parses that.
func checkTaken(t *testing.T, data []byte, p *Packet, limit uint64) {
	if payload := len(p.Meta) + len(p.Payload); uint64(payload) > limit {
		t.Fatalf("a payload of %d bytes is over the limit %d", payload, limit)
	}
	out, err := AppendPacket(nil, p)
	if err != nil {
		t.Fatalf("what was parsed can't be written: %v", err)
	}
	if len(out) > len(data) {
		t.Fatalf("written in %d bytes, came in %d", len(out), len(data))
	}
	again, n, err := ParsePacket(out, limit)
	if len(p.Meta) == 0 {
		again.Flag |= p.Flag & FlagMeta // an empty block isn't written
	}
	if err != nil || n != len(out) || samePacket(again, *p) != "" {
		t.Fatalf("comes back with %d of %d bytes, error %v: %s", n, len(out), err, samePacket(again, *p))
	}
}

// FuzzParseMeta checks that any block gives entries or ErrBadMeta, and that the entries written
// again give the same entries.
func FuzzParseMeta(f *testing.F) {
	for _, g := range goldens(f) {
		if g.Error == "" && len(g.Meta) > 0 {
			f.Add(g.packet(f).Meta)
		}
	}
	for _, text := range []string{"", "85", "05", "030261", "00", "000561", "00016b", "03 80*9 01", "ff*9 01 00", "0500*65", "8500 00"} {
		f.Add(runs(f, text))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		var again []byte
		var entries []MetaEntry
		var failure error
		for e, err := range ParseMeta(block) {
			if failure != nil {
				t.Fatal("the iteration goes on behind an error")
			}
			if failure = err; err == nil {
				entries = append(entries, e)
				again = AppendMeta(again, e.ID, string(e.Key), e.Value)
			}
		}
		if len(entries) > maxMetaEntries {
			t.Fatalf("%d entries", len(entries))
		}
		if err := checkMeta(block); (err == nil) != (failure == nil) || err != nil && err.Error() != failure.Error() {
			t.Fatalf("checkMeta says %v, ParseMeta %v", err, failure)
		}
		if failure != nil {
			if !errors.Is(failure, ErrBadMeta) {
				t.Fatalf("undocumented error %v", failure)
			}
			return
		}
		if len(again) > len(block) {
			t.Fatalf("%d bytes were written again as %d", len(block), len(again))
		}
		n := 0
		for e, err := range ParseMeta(again) {
			if err != nil || e.ID != entries[n].ID || !bytes.Equal(e.Key, entries[n].Key) || !bytes.Equal(e.Value, entries[n].Value) {
				t.Fatalf("entry %d comes back as %+v, error %v", n, e, err)
			}
			n++
		}
		if n != len(entries) {
			t.Fatalf("%d of %d entries come back", n, len(entries))
		}
	})
}

// choppedConn is a connection whose Reads return pieces of its data, of the lengths given in turn.
type choppedConn struct {
	net.Conn
	data   []byte
	pieces []byte
	turn   int
}

func (c *choppedConn) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if len(c.pieces) > 0 {
		n = 1 + int(c.pieces[c.turn%len(c.pieces)])
		c.turn++
	}
	n = copy(b, c.data[:min(n, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

func (c *choppedConn) SetWriteDeadline(time.Time) error { return nil }

// step is an outcome of reading: a packet, and the error that it came with.
type step struct {
	p   Packet
	err string
}

// stepError names an error as both ways of reading name it.
func stepError(err error) string {
	for name, known := range goldenErrors {
		if known != nil && errors.Is(err, known) {
			return name
		}
	}
	return err.Error()
}

// parseAll parses a stream at once.
func parseAll(data []byte, limit uint64) (steps []step) {
	for {
		p, n, err := ParsePacket(data, limit)
		if err == nil {
			steps = append(steps, step{p: p})
			data = data[n:]
			continue
		}
		if err == ErrShortPacket {
			if len(data) == 0 {
				return append(steps, step{err: io.EOF.Error()})
			}
			return append(steps, step{err: io.ErrUnexpectedEOF.Error()})
		}
		h, head, _ := parseHeader(data)
		over := errors.Is(err, ErrLongPayload) && uint64(len(data)-head) >= h.length
		if errors.Is(err, ErrLongPayload) && !over {
			return append(steps, step{err: io.ErrUnexpectedEOF.Error()})
		}
		if over {
			n += int(h.length)
		}
		p.Meta, p.Payload = nil, nil
		steps = append(steps, step{p: p, err: stepError(err)})
		if errors.Is(err, ErrLongCode) {
			return steps
		}
		data = data[n:]
	}
}

// readAll reads a stream through a Protocol.
func readAll(conn net.Conn, limit int) (steps []step) {
	p := NewProtocol(conn, &ProtocolOpts{MaxFrame: limit})
	defer p.own.workers.Close()
	for {
		pkt, err := p.ReadPacket()
		if err == nil {
			steps = append(steps, step{p: pkt})
			continue
		}
		steps = append(steps, step{p: pkt, err: stepError(err)})
		if !errors.Is(err, ErrLongPayload) && !errors.Is(err, ErrBadMeta) {
			return steps
		}
	}
}

// sameSteps says how two readings differ.
func sameSteps(got, want []step) string {
	for i := range min(len(got), len(want)) {
		if got[i].err != want[i].err {
			return "error " + got[i].err + ", want " + want[i].err
		}
		if diff := samePacket(got[i].p, want[i].p); diff != "" {
			return diff
		}
	}
	if len(got) != len(want) {
		return "not the same number of packets"
	}
	return ""
}

// FuzzReader checks that a stream that comes in any pieces gives the packets that it
// gives at once.
func FuzzReader(f *testing.F) {
	var all []byte
	for _, g := range goldens(f) {
		data := runs(f, g.Hex)
		if g.Error != "short" && g.Error != "longCode" && g.Error != "longPayload" && len(data) < 10<<10 {
			all = append(all, data...)
		}
		if len(data) < 10<<10 {
			f.Add(data, []byte{0}, uint32(0))
		}
	}
	f.Add(all, []byte{0}, uint32(1<<20))
	f.Add(all, []byte{2, 40, 7}, uint32(200))
	f.Add(all, []byte{255}, uint32(3))
	large := appendHeader(nil, 0, 1, "large", nil, largeBody)
	large = append(append(large, make([]byte, largeBody)...), all...)
	f.Add(large, []byte{255, 3}, uint32(1<<20))
	f.Add(large, []byte{99}, uint32(1000))
	f.Fuzz(func(t *testing.T, data, pieces []byte, limit uint32) {
		most := int(limit%(4<<20)) + 1
		want := parseAll(data, uint64(most))
		got := readAll(&choppedConn{data: data, pieces: pieces}, most)
		if diff := sameSteps(got, want); diff != "" {
			t.Fatalf("limit %d, pieces %v: %s", most, pieces, diff)
		}
	})
}
