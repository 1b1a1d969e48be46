package service

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// HeaderLen is the length of what stands before the body of a bus message.
const HeaderLen = headerLen

// Seal makes the check sum of a bus message right.
func Seal(b []byte) []byte {
	if len(b) >= headerLen {
		binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli()))
	}
	return b
}

// Held returns how many bytes of large messages are coming.
func (s *Service) Held() int { return int(s.held.Load()) }

// Held returns how many bytes of large messages are kept to be fetched.
func (c *Client) Held() int {
	c.svc.mu.Lock()
	l := c.svc.links[linkKey{target: c.target}].link
	c.svc.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Frames returns how many frames a bus message has.
func Frames(b []byte) (int, error) {
	frames, err := parseFrames(nil, b)
	return len(frames), err
}

// Share returns how many of so many requests that wait may travel together when so many instances have answered.
func Share(instances, queued int) int {
	var p place
	l := link{now: time.Now(), shown: map[uint64]time.Time{}}
	for i := range instances {
		p.hear(uint64(i), l.now)
		l.showed(uint64(i))
	}
	return l.share(&p, queued)
}

// The limits of bundles.
const (
	MaxFrames  = maxFrames
	MaxOpeners = maxOpeners
	MaxBundle  = maxBundle
	HeardTime  = heardTime
	ShowTime   = showTime
	KindAlive  = byte(kindAlive)
	KindInvite = byte(kindInvite)
	KindReady  = byte(kindReady)
	KindCast   = byte(kindCast)
)

// Sourced returns the packet that b begins with, with the sender added, and the length that its payload is counted with. splits says that its
// metadata could be read.
func Sourced(b []byte, seq uint16, source []byte) (out []byte, size int, splits bool) {
	p, err := splitPacket(b)
	if err != nil {
		return nil, 0, false
	}
	_, splits = p.sourced(nil, source)
	return p.appendFrom(nil, seq, source), p.sizeFrom(source), splits
}

// CastTime is how long instances may take to say that they take a stream.
const CastTime = castTime

// Invited returns how many streams a service expects.
func Invited(s *Service) (n int) {
	for _, l := range s.allLanes() {
		l.mu.Lock()
		n += len(l.asked)
		l.mu.Unlock()
	}
	return n
}
