package flyrpc

import (
	"context"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc/internal/flow"
)

// outflow is what this side may send on one account: that of a call, or the one for
// messages. All methods may be called concurrently.
type outflow struct {
	mu      sync.Mutex
	credit  flow.Credit
	waiters []*spender // the oldest first
	over    error      // nothing is sent on the account any more
}

// spender waits until an account holds what it needs.
type spender struct {
	cost int
	done chan error // capacity 1
}

// begin sets what the account holds at first.
func (o *outflow) begin(credit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.credit = flow.NewCredit(credit)
}

// spend takes cost off the account, waiting until it holds as much. The error is why nothing
// is sent any more, or what await returns.
func (o *outflow) spend(ctx context.Context, c *Conn, cost int, what string) error {
	o.mu.Lock()
	if o.over != nil || len(o.waiters) == 0 && o.credit.Take(cost) {
		defer o.mu.Unlock()
		return o.over
	}
	w := &spender{cost: cost, done: make(chan error, 1)}
	o.waiters = append(o.waiters, w)
	o.mu.Unlock()
	c.resume() // somebody has to read what is granted
	err, waitErr := await(ctx, w.done, "the other end to take %s", what)
	if waitErr == nil {
		return err
	}
	o.leave(w)
	return waitErr
}

// trySpend is spend for those who would rather not send than wait.
func (o *outflow) trySpend(cost int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over == nil && len(o.waiters) == 0 && o.credit.Take(cost)
}

// refund gives back what was taken for a packet that was not sent.
func (o *outflow) refund(cost int) {
	_ = o.add(uint64(cost)) // it held as much before
}

// leave takes w, whose wait has ended, off the list and gives back what it got meanwhile.
func (o *outflow) leave(w *spender) {
	o.mu.Lock()
	i := slices.Index(o.waiters, w)
	if i >= 0 {
		o.waiters = slices.Delete(o.waiters, i, i+1)
		o.serve()
	}
	o.mu.Unlock()
	if i < 0 && <-w.done == nil {
		o.refund(w.cost)
	}
}

// add adds what the receiver has granted.
func (o *outflow) add(n uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.credit.Add(n); err != nil {
		return err
	}
	o.serve()
	return nil
}

// serve lets those go on who wait and for whom there is enough. It is called with the lock held.
func (o *outflow) serve() {
	for len(o.waiters) > 0 && o.credit.Take(o.waiters[0].cost) {
		o.waiters[0].done <- nil
		o.waiters[0] = nil
		o.waiters = o.waiters[1:]
	}
}

// ended returns why nothing is sent any more, or nil.
func (o *outflow) ended() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// reopen undoes end, for the response in pieces and the last item.
func (o *outflow) reopen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = nil
}

// end lets all who wait go with err; nothing is sent any more.
func (o *outflow) end(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over != nil {
		return
	}
	o.over = err
	for _, w := range o.waiters {
		w.done <- err
	}
	o.waiters = nil
}
