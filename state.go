package flyrpc

import (
	"fmt"
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/pool"
)

// State says whether a client is connected.
type State int

const (
	// Idle means that there is no connection and that none is being made: the client wasn't used yet, or has lost its connection, or
	// has given up.
	Idle State = iota
	// Connecting means that there is no connection yet, and one is being made.
	Connecting
	// Waiting means that there is no connection, and the next attempt to make one comes after a pause.
	Waiting
	// Connected means that there is a connection, one at least if there are several addresses.
	Connected
	// Closed means that Close was called.
	Closed
)

// String returns the name of the constant.
func (s State) String() string {
	names := [...]string{"Idle", "Connecting", "Waiting", "Connected", "Closed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// State returns the client's state. It may have changed by the time the caller looks at it. In the mode ReconnectNever it is Idle
// once the connection is lost, as in the others.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states.now
}

// maxTold is how many changes of state are kept for OnStateChange.
const maxTold = 64

// states tells OnStateChange of changes.
type states struct {
	now State // guarded by Client.mu

	f       func(State, error)
	ep      *endpoint
	mu      sync.Mutex
	untold  []stateChange
	telling bool
}

type stateChange struct {
	state State
	err   error
}

// set notes that the state is now s. It is called with Client.mu held.
func (t *states) set(s State, err error) {
	if s == t.now || t.now == Closed {
		return
	}
	t.now = s
	if t.f == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.untold) == maxTold {
		t.untold = append(t.untold[:0], t.untold[1:]...)
	}
	t.untold = append(t.untold, stateChange{s, err})
	if !t.telling {
		t.telling = true
		t.ep.workers.Go(tellTask{t}, nil)
	}
}

// tellTask calls OnStateChange on a worker.
type tellTask struct{ t *states }

// Run tells all that is to be told. If OnStateChange panics or ends the goroutine, that is logged, and it is told of the next change.
func (task tellTask) Run(*pool.Worker) {
	for {
		change, ok := task.t.next()
		if !ok {
			return
		}
		task.t.tell(change)
	}
}

// next returns the next change to tell.
func (t *states) next() (stateChange, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.untold) == 0 {
		t.telling, t.untold = false, nil
		return stateChange{}, false
	}
	change := t.untold[0]
	t.untold = t.untold[1:]
	return change, true
}

// tell calls OnStateChange.
func (t *states) tell(change stateChange) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			t.ep.log.Error("flyrpc: OnStateChange panicked", "panic", fmt.Sprint(r))
			return
		}
		t.ep.workers.Go(tellTask{t}, nil) // runtime.Goexit: another worker goes on
	}()
	t.f(change.state, change.err)
	returned = true
}
