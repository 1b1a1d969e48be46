// Package transporttest checks that a Transport does what package transport says
// of it, and what FlyRPC relies on.
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, transporttest.Config{
//			Transport: mine.Transport{},
//			Addr:      func(testing.TB) string { return "mine://localhost:0" },
//			DialAddr:  func(l net.Listener) string { return "mine://" + l.Addr().String() },
//		})
//	}
//
// Each check is a subtest. None waits longer than Config.Patience for anything, so a
// transport that locks up fails too.
package transporttest

import (
	"net"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// DefaultPatience is how long a check waits for something that should happen,
// unless Config says otherwise.
const DefaultPatience = 20 * time.Second

// Config says what is to be checked and what it can do. Without any capability
// set it is a stream: reliable, in order, without borders between writes.
type Config struct {
	// Transport is what is checked. It may be nil if Pair is set: then the checks of
	// Dial and Listen are left out.
	Transport transport.Transport
	// Addr returns an address to listen at. It is called once for each listener,
	// which must not get in each other's way.
	Addr func(t testing.TB) string
	// DialAddr returns the address to dial for a listener. Default: the one that it
	// was made with.
	DialAddr func(l net.Listener) string
	// WrongAddrs are addresses that Dial and Listen have to refuse with an
	// *AddrError.
	WrongAddrs []string
	// Pair makes the two ends of a connection in another way than by Transport.
	Pair func(t testing.TB) (a, b net.Conn)

	// MaxPacket is the largest packet in bytes, where a Write sends one packet and a
	// Read takes one. 0 means a stream.
	MaxPacket int
	// Unordered says that packets may overtake each other.
	Unordered bool
	// Unreliable says that packets may get lost. Nobody need tell the other end
	// that a connection was made or closed then.
	Unreliable bool
	// NoHalfClose says that connections can't close one direction alone. Else they have
	// a method CloseWrite() error.
	NoHalfClose bool
	// TimeoutEndsWriting says that nothing can be written any more after a
	// Write that its deadline has interrupted, as with TLS.
	TimeoutEndsWriting bool

	// Patience is how long anything may take, at most. Default: DefaultPatience.
	Patience time.Duration
}

// Run checks the transport. It counts goroutines, so don't call it in a test that runs
// in parallel with others.
func Run(t *testing.T, c Config) {
	t.Helper()
	for _, check := range checks(&c) {
		t.Run(check.name, func(t *testing.T) { check.run(newKit(t, c)) })
	}
}

// check is one thing that is checked.
type check struct {
	name    string
	run     func(*kit)
	applies bool
}

// checks returns those that apply.
func checks(c *Config) []check {
	stream, reliable := c.MaxPacket == 0, !c.Unreliable
	all := []check{
		{"Stream", checkStream, stream},
		{"BothWays", checkBothWays, stream},
		{"WholeWrites", checkWholeWrites, stream},
		{"Backpressure", checkBackpressure, stream},
		{"TryWrite", checkTryWrite, stream},
		{"Packets", checkPackets, !stream},
		{"PacketTooLong", checkPacketTooLong, !stream},
		{"ReadDeadline", checkReadDeadline, true},
		{"WriteDeadline", checkWriteDeadline, reliable},
		{"DeadlineWakes", checkDeadlineWakes, true},
		{"DeadlineMoves", checkDeadlineMoves, true},
		{"CloseWakes", checkCloseWakes, true},
		{"AfterClose", checkAfterClose, true},
		{"PeerClose", checkPeerClose, reliable},
		{"HalfClose", checkHalfClose, reliable && !c.NoHalfClose},
		{"Addresses", checkAddresses, true},
		{"Racy", checkRacy, true},
		{"Schemes", checkSchemes, c.Transport != nil},
		{"WrongAddresses", checkWrongAddrs, c.Transport != nil},
		{"ManyConnections", checkManyConnections, c.Transport != nil},
		{"ListenerClose", checkListenerClose, c.Transport != nil},
		{"DialNobody", checkDialNobody, c.Transport != nil && reliable},
		{"DialContext", checkDialContext, c.Transport != nil},
		{"NothingLeft", checkNothingLeft, true},
	}
	applicable := all[:0]
	for _, check := range all {
		if check.applies {
			applicable = append(applicable, check)
		}
	}
	return applicable
}
