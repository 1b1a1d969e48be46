package command

import (
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"

	"github.com/go-flyrpc/flyrpc"
)

// Processor has the handlers of actions, and the connections that commands come and go by. All methods may be called
// concurrently. Its Server's own handlers, registered with OnMessage, are actions too, which aren't counted; its
// Broadcast fires a command on all connections.
type Processor struct {
	*flyrpc.Server
	opts Options
	log  *slog.Logger

	mu      sync.RWMutex
	actions map[string]*action
}

// Counts says how the commands of an action have ended.
type Counts struct {
	Success    uint64 // answered with drs.response
	Errors     uint64 // answered with drs.error
	Exceptions uint64 // answered with drs.exception: plain errors, and panics
}

// action is an action with its handlers.
type action struct {
	name     string
	p        *Processor
	handlers []flyrpc.Handler // guarded by Processor.mu; a slice is never changed
	counts   Counts           // guarded by mu

	mu sync.Mutex
}

// New returns a Processor without actions. It copies opts, which may be nil.
func New(opts *Options) *Processor {
	var o Options
	if opts != nil {
		o = *opts
	}
	log := o.Server.Logger
	if log == nil {
		log = slog.Default()
	}
	return &Processor{Server: flyrpc.NewServer(&o.Server), opts: o, log: log, actions: map[string]*action{}}
}

// On adds handlers of an action, which is a path or pattern as of flyrpc.Router.OnMessage. The handlers of an action, whether they were added
// together or later, run one after another until one fails; the result is that of the last one. Each has one of
// the shapes of flyrpc.MessageHandler and gets the body as it wants it, but neither takes nor sends
// items. They share the connection's values by Context.Conn, and what they fail with is logged if it isn't meant for the caller. On panics if a handler has no such shape, if there is none, and
// where the Router does.
func (p *Processor) On(name string, handlers ...flyrpc.MessageHandler) {
	added := make([]flyrpc.Handler, len(handlers))
	for i, h := range handlers {
		var err error
		if added[i], err = flyrpc.NewHandler(h); err != nil {
			_, file, line, _ := runtime.Caller(1)
			panic(fmt.Sprintf("command: On(%q, %T) at %s:%d: %v", name, h, file, line, err))
		}
	}
	if len(added) == 0 {
		panic(fmt.Sprintf("command: On(%q): there is no handler", name))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.actions[name]
	if a == nil {
		a = &action{name: name, p: p}
		p.OnMessage(name, a.handle)
		p.actions[name] = a
	}
	a.handlers = append(a.handlers[:len(a.handlers):len(a.handlers)], added...)
}

// Counts returns how the commands of the actions that were registered with On have ended so far, by their names. A command counts when its
// handlers have returned.
func (p *Processor) Counts() map[string]Counts {
	p.mu.RLock()
	actions := maps.Clone(p.actions)
	p.mu.RUnlock()
	counts := make(map[string]Counts, len(actions))
	for name, a := range actions {
		a.mu.Lock()
		counts[name] = a.counts
		a.mu.Unlock()
	}
	return counts
}

// handle runs the handlers for a command.
func (a *action) handle(ctx *flyrpc.Context) (result any, err error) {
	a.p.mu.RLock()
	handlers := a.handlers
	a.p.mu.RUnlock()
	returned := false
	defer func() {
		if !returned { // a panic, which the server recovers from and logs
			a.count(flyrpc.HandlerPanic)
		}
	}()
	for _, h := range handlers {
		if result, err = h(ctx); err != nil {
			break
		}
	}
	code := ctx.CodeOf(err)
	returned = true
	a.count(code)
	if isException(code) {
		a.p.log.Error("command: exception", "action", a.name, "conn", ctx.Conn().ID(), "error", err.Error())
	}
	return result, err
}

// count counts a command that has ended with a code.
func (a *action) count(code flyrpc.Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case code == "":
		a.counts.Success++
	case isException(code):
		a.counts.Exceptions++
	default:
		a.counts.Errors++
	}
}
