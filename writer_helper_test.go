package flyrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// sink is a connection that keeps what is written to it.
type sink struct {
	net.Conn
	try   func(b []byte) (int, error) // what TryWrite does; nil takes all
	write func(b []byte) (int, error) // what Write does; nil takes all

	mu     sync.Mutex
	stream []byte
	calls  [][]byte // what came with each call, before anything was taken
	tries  int
}

func (s *sink) take(b []byte, f func([]byte) (int, error)) (int, error) {
	n, err := len(b), error(nil)
	if f != nil {
		n, err = f(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = append(s.stream, b[:n]...)
	s.calls = append(s.calls, b)
	return n, err
}

func (s *sink) Write(b []byte) (int, error) { return s.take(b, s.write) }

func (s *sink) TryWrite(b []byte) (int, error) {
	s.mu.Lock()
	s.tries++
	s.mu.Unlock()
	return s.take(b, s.try)
}

func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

// packets parses all that was written.
func (s *sink) packets(t testing.TB) []Packet {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return parseStream(t, s.stream)
}

// parseStream parses whole packets.
func parseStream(t testing.TB, data []byte) (list []Packet) {
	t.Helper()
	for len(data) > 0 {
		p, n, err := ParsePacket(data, 1<<30)
		if err != nil {
			t.Fatalf("packet %d: %v", len(list), err)
		}
		list = append(list, p)
		data = data[n:]
	}
	return list
}

// codes joins the codes of packets.
func codes(list []Packet) string {
	var b bytes.Buffer
	for _, p := range list {
		b.WriteString(p.Code + " ")
	}
	return b.String()
}

// testWriter is a writer with what it needs, and a count of its failures.
type testWriter struct {
	writer
	t       testing.TB
	fails   atomic.Int32
	failure error
}

// newTestWriter returns a writer of conn, whose workers end with the test. tries says whether it
// may use conn's TryWrite.
func newTestWriter(t testing.TB, conn net.Conn, tries bool) *testWriter {
	workers := new(pool.Pool)
	t.Cleanup(workers.Close)
	w := &testWriter{t: t}
	w.writer = writer{conn: conn, workers: workers, bufs: new(buffers), timeout: time.Second, max: 1 << 20}
	w.fail = func(err error) {
		w.failure = err
		w.fails.Add(1)
	}
	if tries {
		w.try = conn.(interface{ TryWrite([]byte) (int, error) })
	}
	return w
}

// send queues a packet with a code and a body of n bytes.
func (w *testWriter) send(code string, n int) uint64 {
	w.t.Helper()
	pos, err := w.put(context.Background(), &frame{code: code, body: make([]byte, n)}, false)
	if err != nil {
		w.t.Errorf("put: %v", err)
	}
	return pos
}

// gated returns a function for sink.write that waits for gate, and takes all then.
func gated(gate <-chan struct{}) func([]byte) (int, error) {
	return func(b []byte) (int, error) {
		<-gate
		return len(b), nil
	}
}

// nothing is a function for sink.try: nothing fits.
func nothing([]byte) (int, error) { return 0, nil }

var errTorn = errors.New("the cable was cut")

// numbered returns the body of packet i of sender k: n bytes that say so.
func numbered(k, i, n int) []byte {
	b := pattern(n, k*31+i)
	if n >= 8 {
		binary.BigEndian.PutUint32(b, uint32(k))
		binary.BigEndian.PutUint32(b[4:], uint32(i))
	}
	return b
}

// checkNumbered checks that each sender's packets, whose codes are "k/i/n", came once and in order.
func checkNumbered(t testing.TB, list []Packet, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	for _, p := range list {
		var k, i, n int
		if _, err := fmt.Sscanf(p.Code, "%d/%d/%d", &k, &i, &n); err != nil {
			t.Fatalf("code %.40q: %v", p.Code, err)
		}
		if i != next[k] {
			t.Fatalf("packet %d of sender %d came where %d was to come", i, k, next[k])
		}
		if !bytes.Equal(p.Payload, numbered(k, i, n)) {
			t.Fatalf("the payload of %s has changed", p.Code)
		}
		next[k]++
	}
	for k, n := range next {
		if n != each {
			t.Fatalf("%d of %d packets of sender %d came", n, each, k)
		}
	}
}
