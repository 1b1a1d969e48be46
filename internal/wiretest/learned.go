package wiretest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
)

const (
	maxCodes     = 126 // learned codes
	maxCodeBytes = 16 << 10
)

// codes are the paths that the other end has taught.
type codes struct {
	paths map[byte][]byte
	bytes int
}

// resolve returns the code that a packet's code stands for. limit is what the runner has said in hello.
func (c *codes) resolve(p *packet, limit int) ([]byte, error) {
	frame := p.flag&(flagStream|flagWait) == flagStream
	if len(p.code) == 0 || p.code[0] != 1 || frame || p.flag&(flagResponse|flagZipCode) != 0 {
		return p.code, nil
	}
	if len(p.code) < 2 || p.code[1] < 2 || int(p.code[1]) > min(limit, maxCodes)+1 {
		return nil, fmt.Errorf("the learned code %.10x has no id up to %#x", p.code, limit+1)
	}
	id, path := p.code[1], p.code[2:]
	if len(path) == 0 {
		if c.paths[id] == nil {
			return nil, fmt.Errorf("the learned code %#x was not taught", id)
		}
		return c.paths[id], nil
	}
	if c.paths == nil {
		c.paths = make(map[byte][]byte)
	}
	c.bytes += len(path) - len(c.paths[id])
	c.paths[id] = path
	if path[0] == 1 || c.bytes > maxCodeBytes {
		return nil, fmt.Errorf("the path %.20q can't be taught", path)
	}
	return path, nil
}

// inflated returns p with its body inflated, if it is compressed by flate.
func inflated(p *packet) (*packet, error) {
	if p.flag&flagZipPayload == 0 {
		return p, nil
	}
	meta, body, err := splitMeta(p.flag, p.payload)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), maxPayload))
	if err != nil {
		return nil, fmt.Errorf("the body is no flate: %w", err)
	}
	return &packet{flag: p.flag &^ flagZipPayload, seq: p.seq, code: p.code, payload: append(bytes.Clone(meta), out...), raw: p.raw}, nil
}
