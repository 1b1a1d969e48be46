package netfault

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a server that sends back what comes.
func echo(t *testing.T) string {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFromUDP(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = conn.WriteToUDP(b[:n], from)
			}
		}
	})
	t.Cleanup(func() { conn.Close(); running.Wait() })
	return conn.LocalAddr().String()
}

// throughProxy sends n datagrams one after the other and returns the indices that came back, with how many bytes.
func throughProxy(t *testing.T, f DatagramFaults, n int) (p *DatagramProxy, order []int, sizes []int) {
	t.Helper()
	p, err := NewDatagramProxy(echo(t), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	conn, err := net.Dial("udp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range n {
		if _, err := conn.Write(bytes.Repeat([]byte{byte(i)}, 100)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 2000)
	for end := time.Now().Add(10 * time.Second); ; {
		due, known := p.due(n)
		if known && len(sizes) >= due {
			return p, order, sizes
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d datagrams came back, and %d are to come (all: %v)", len(sizes), n, due, known)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		m, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, m)
		if m > 0 {
			order = append(order, int(b[0]))
		}
	}
}

// due returns how many datagrams a client gets that has sent n, and whether that is all: those that passed have been answered.
func (p *DatagramProxy) due(n int) (due int, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	down, up := p.seen[0], p.seen[1]
	return down.passed, up.datagrams == n && down.datagrams == up.passed
}

func TestDatagramProxy(t *testing.T) {
	const n = 100
	for name, c := range map[string]struct {
		faults   DatagramFaults
		least    int
		most     int
		ordered  bool
		complete bool
	}{
		"none":     {DatagramFaults{}, n, n, true, true},
		"lose":     {DatagramFaults{Lose: 0.2, Seed: 1}, n / 3, n - 10, true, true},
		"repeat":   {DatagramFaults{Repeat: 0.2, Seed: 1}, n + 20, 2 * n, true, true},
		"late":     {DatagramFaults{Late: 0.5, Seed: 1}, n, n, false, true},
		"truncate": {DatagramFaults{Truncate: 0.5, Seed: 1}, n, n, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, order, sizes := throughProxy(t, c.faults, n)
			if len(sizes) < c.least || len(sizes) > c.most {
				t.Errorf("%d of %d datagrams came back", len(sizes), n)
			}
			ordered, complete := true, true
			for i := range order {
				ordered = ordered && (i == 0 || order[i] >= order[i-1])
			}
			for _, size := range sizes {
				complete = complete && size == 100
			}
			if ordered != c.ordered || complete != c.complete {
				t.Errorf("in order: %v, whole: %v", ordered, complete)
			}
		})
	}
}

func TestDatagramProxySees(t *testing.T) {
	var seen [2]atomic.Int32
	p, order, _ := throughProxy(t, DatagramFaults{Sees: func(toServer bool, b []byte) bool {
		if toServer {
			seen[0].Add(1)
			return b[0]%2 == 0
		}
		seen[1].Add(1)
		return true
	}}, 10)
	if seen[0].Load() != 10 || seen[1].Load() != 5 || len(order) != 5 {
		t.Errorf("seen %d and %d, came back %v", seen[0].Load(), seen[1].Load(), order)
	}
	if to, from := p.Bytes(); to != 1000 || from != 500 {
		t.Errorf("%d and %d bytes", to, from)
	}
}
