package peers

import (
	"fmt"
	"sync"
	"testing"
)

// TestEcho has every peer echo each size, and looks at all that comes back.
func TestEcho(t *testing.T) {
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			client := start(t, p)
			for _, size := range []int{Small, Medium, Large} {
				t.Run(fmt.Sprint(size), func(t *testing.T) { echo(t, client, size) })
			}
		})
	}
}

// TestConcurrentEcho has callers of every peer call at the same time.
func TestConcurrentEcho(t *testing.T) {
	const callers, calls = 16, 20
	for _, p := range All() {
		if p.Raw {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			client := start(t, p)
			var wg sync.WaitGroup
			for i := range callers {
				m := NewMessage(Small)
				m.ID = int64(i + 1)
				call := client.Caller(m)
				wg.Go(func() {
					for range calls {
						check(t, m, call)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestRawMessageIs64Bytes(t *testing.T) {
	if n := len(encodeRaw(NewMessage(Small))); n != 64 {
		t.Errorf("it is %d bytes", n)
	}
}

func TestCheck(t *testing.T) {
	m := NewMessage(Small)
	for _, other := range []*Message{
		{},
		{ID: m.ID, Name: m.Name},
		{ID: m.ID, Name: "Bob", Payload: m.Payload},
		{ID: m.ID, Name: m.Name, Payload: make([]byte, Small)},
	} {
		if m.Check(other) == nil {
			t.Errorf("%+v passes", other)
		}
	}
}

func TestFind(t *testing.T) {
	if p, err := Find("grpc"); err != nil || p.Name != "grpc" {
		t.Error(p.Name, err)
	}
	if _, err := Find("pigeon"); err == nil {
		t.Error("no error")
	}
}

// start returns a client of a server, both of which end with the test.
func start(t *testing.T, p Peer) Client {
	t.Helper()
	srv, err := p.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	client, err := p.Dial(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// echo calls once, and sends a batch if the client can.
func echo(t *testing.T, client Client, size int) {
	m := NewMessage(size)
	check(t, m, client.Caller(m))
	if b, ok := client.(Batcher); ok {
		check(t, m, b.Batch(m, 16))
		check(t, m, b.Batch(m, 3))
	}
}

func check(t *testing.T, m *Message, call func() (Message, error)) {
	t.Helper()
	got, err := call()
	if err == nil {
		err = m.Check(&got)
	}
	if err != nil {
		t.Error(err)
	}
}
