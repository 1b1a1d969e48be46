package transport

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const schemeMem = "mem"

// MemBacklog is how many dialed connections a Mem listener keeps for Accept;
// further dials wait until there is room or their context ends.
const MemBacklog = 128

// MemAddr is the address of a listener or a connection in a Mem: the name. That
// of an end that dialed holds a "#", so no listener has it.
type MemAddr string

// Network returns "mem".
func (MemAddr) Network() string { return schemeMem }

// String returns the URL, "mem://name": what Table.Dial takes.
func (a MemAddr) String() string { return schemeMem + "://" + string(a) }

// Mem is a network inside the process: the Transport for "mem://name", where any
// name is free to use. Two Mems don't see each other's names. Its connections are
// *MemConn, dialed and accepted ones. The zero value is ready, all methods may
// run concurrently, and it must not be copied.
type Mem struct {
	mu        sync.Mutex
	listeners map[MemAddr]*memListener
	dialed    uint64 // connections so far, to name their dialing ends
}

// NewMem returns a network without listeners.
func NewMem() *Mem { return new(Mem) }

// Schemes returns "mem".
func (*Mem) Schemes() []string { return []string{schemeMem} }

// Listen takes the name of addr, until the listener is closed. A name that is
// taken gives syscall.EADDRINUSE.
func (m *Mem) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	name, err := memName(addr)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, memError("listen", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[name] != nil {
		return nil, memError("listen", name, syscall.EADDRINUSE)
	}
	l := newMemListener(m, name)
	if m.listeners == nil {
		m.listeners = make(map[MemAddr]*memListener)
	}
	m.listeners[name] = l
	return l, nil
}

// Dial connects to the listener that has addr's name. As with TCP it doesn't
// wait for Accept, unless the listener's backlog is full: then it waits until
// ctx ends. Without such a listener the error is syscall.ECONNREFUSED and names
// the listeners there are.
func (m *Mem) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	name, err := memName(addr)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, memError("dial", name, err)
	}
	l, local, err := m.find(name)
	if err != nil {
		return nil, memError("dial", name, err)
	}
	near, far := newPipe(nil, local, name)
	if err := l.offer(ctx, far); err != nil {
		return nil, memError("dial", name, err)
	}
	return near, nil
}

// find returns the listener of that name, and a name for the end that dials it.
func (m *Mem) find(name MemAddr) (*memListener, MemAddr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.listeners[name]
	if l == nil {
		return nil, "", m.refused()
	}
	m.dialed++
	return l, MemAddr(fmt.Sprintf("dial#%d", m.dialed)), nil
}

func (m *Mem) refused() error {
	if len(m.listeners) == 0 {
		return fmt.Errorf("%w: no listener in this transport.Mem", syscall.ECONNREFUSED)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.listeners)) {
		names = append(names, name.String())
	}
	return fmt.Errorf("%w: the listeners are %s", syscall.ECONNREFUSED, strings.Join(names, ", "))
}

// remove frees the listener's name, if it still has it.
func (m *Mem) remove(l *memListener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[l.name] == l {
		delete(m.listeners, l.name)
	}
}

func memName(u *url.URL) (MemAddr, error) {
	if err := onlyHost(u); err != nil {
		return "", err
	}
	if u.Host == "" {
		return "", &AddrError{u.String(), "it has no name; write mem://name"}
	}
	return MemAddr(u.Host), nil
}

func memError(op string, name MemAddr, err error) error {
	return &net.OpError{Op: op, Net: schemeMem, Addr: name, Err: err}
}
