package flyrpctest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// The defaults of a Recorder.
const (
	DefaultMaxRecords = 1000
	DefaultMaxBody    = 16 << 10 // bytes
)

// Recorder notes calls and messages: those that come in where its Middleware is used, and those
// that go out where its Interceptor is. The zero value is ready. All methods may be called concurrently; the
// fields are set before.
type Recorder struct {
	// MaxRecords is how many calls are kept: the first ones. Missed counts the others. 0 or less means
	// DefaultMaxRecords.
	MaxRecords int
	// MaxBody is how many bytes are kept of a message or reply. 0 or less means DefaultMaxBody.
	MaxBody int

	mu      sync.Mutex
	records []*Record
	missed  int
	changed chan struct{} // closed at the next change; nil if nobody waits
}

// Record is what a Recorder notes of a call or message. What is known only at its end is zero until Ended.
type Record struct {
	// Path is where it went: the path itself, not the pattern that matched it.
	Path string
	// Incoming means that a handler of this side got it, else it went out.
	Incoming bool
	// OneWay means that it is a message, which has no answer.
	OneWay bool
	// Streams means that the caller opened it to send items. An outgoing one, or one that receives items, has
	// ended when the request was sent: its Recorder sees neither items nor answer. For a handler it covers
	// all that the handler did.
	Streams bool
	// Conn is the connection's ID.
	Conn uint64
	// Message is what was sent, and Reply what was answered. A reply in items isn't recorded, nor is a message
	// or reply that is an io.Reader.
	Message, Reply Body
	// Meta is the metadata that came with it; nil for what went out.
	Meta flyrpc.Metadata

	// Began is when it came in, to the handler, or set out.
	Began time.Time
	// Ended means that the handler has returned, or the call has; for an outgoing message, that it
	// was queued to be written.
	Ended bool
	// Duration is how long that took.
	Duration time.Duration
	// Err is what the handler or the call returned. A panic of the handler is a HandlerPanic.
	Err error
	// Outcome says how far an outgoing call had come. For what came in it is Answered.
	Outcome flyrpc.Delivery
}

// String returns the record as one line.
func (r Record) String() string {
	way, end := "out", ", open"
	if r.Incoming {
		way = "in"
	}
	switch {
	case r.Ended && r.Err != nil:
		end = fmt.Sprintf(": %v (%v)", r.Err, r.Outcome)
	case r.Ended:
		end = fmt.Sprintf(": %v", r.Reply)
	}
	return fmt.Sprintf("%s %s %v%s", way, r.Path, r.Message, end)
}

// Middleware notes what comes in. Outermost it sees what a handler and all other middleware do.
func (r *Recorder) Middleware(next flyrpc.Handler) flyrpc.Handler {
	return func(ctx *flyrpc.Context) (reply any, err error) {
		p := ctx.Packet()
		rec := &Record{
			Path: ctx.Path(), Incoming: true, Conn: ctx.Conn().ID(), Meta: ctx.Meta(), Message: r.received(ctx, p.Payload),
			OneWay: p.Flag&flyrpc.FlagWait == 0, Streams: p.Flag&flyrpc.FlagStream != 0,
		}
		r.begin(rec)
		err = flyrpc.Errorf(flyrpc.HandlerPanic, "the handler didn't return")
		defer func() { r.end(rec, reply, err, flyrpc.Answered) }()
		return next(ctx)
	}
}

// Interceptor notes what goes out. Outermost it sees a call once, innermost each time that another interceptor
// repeats it.
func (r *Recorder) Interceptor(next flyrpc.Invoker) flyrpc.Invoker {
	return func(ctx context.Context, call *flyrpc.Outgoing) error {
		rec := &Record{
			Path: call.Path, Conn: call.Conn.ID(), Message: r.body(call.Message), OneWay: call.OneWay, Streams: call.Streams,
		}
		r.begin(rec)
		err := next(ctx, call)
		r.end(rec, call.Reply, err, flyrpc.Outcome(err))
		return err
	}
}

// begin takes a record in, if there is room.
func (r *Recorder) begin(rec *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Began = time.Now()
	if len(r.records) >= orDefault(r.MaxRecords, DefaultMaxRecords) {
		r.missed++
	} else {
		r.records = append(r.records, rec)
	}
	r.tell()
}

// end completes a record.
func (r *Recorder) end(rec *Record, reply any, err error, outcome flyrpc.Delivery) {
	var b Body
	if err == nil {
		b = r.body(reply)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Ended, rec.Duration = true, time.Since(rec.Began)
	rec.Reply, rec.Err, rec.Outcome = b, err, outcome
	r.tell()
}

// tell wakes those who wait. The lock is held.
func (r *Recorder) tell() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Records returns the calls and messages to a path, or all if path is empty, in the order in which they
// began. They belong to the caller.
func (r *Recorder) Records(path string) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list(path)
}

func (r *Recorder) list(path string) []Record {
	var list []Record
	for _, rec := range r.records {
		if path == "" || rec.Path == path {
			list = append(list, *rec)
		}
	}
	return list
}

// Missed returns how many calls and messages found the Recorder full.
func (r *Recorder) Missed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// Reset forgets everything, also the end of what hasn't ended.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records, r.missed = nil, 0
	r.tell()
}

// AwaitBegin waits until the nth call or message to a path, counted from 1, has come in or set out, and
// returns its record. It ends the test if that doesn't happen within Patience, or the Recorder is full.
func (r *Recorder) AwaitBegin(t testing.TB, path string, n int) Record {
	t.Helper()
	return r.await(t, path, n, "begin", func(Record) bool { return true })
}

// AwaitEnd is AwaitBegin for the end of the nth call or message that began.
func (r *Recorder) AwaitEnd(t testing.TB, path string, n int) Record {
	t.Helper()
	return r.await(t, path, n, "end", func(rec Record) bool { return rec.Ended })
}

func (r *Recorder) await(t testing.TB, path string, n int, what string, there func(Record) bool) Record {
	t.Helper()
	if n < 1 {
		t.Fatalf("flyrpctest: Recorder: call %d of %q can't be awaited: the first is 1", n, path)
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	for {
		r.mu.Lock()
		list, all, missed := r.list(path), r.list(""), r.missed
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if len(list) >= n && there(list[n-1]) {
			return list[n-1]
		}
		if len(list) < n && missed > 0 {
			t.Fatalf("flyrpctest: Recorder: call %d of %q may be among the %d that found it full, with %d records: Reset it, or set MaxRecords",
				n, path, missed, len(all))
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("flyrpctest: Recorder: call %d of %q didn't %s within %v. Recorded are %d calls:\n%s", n, path, what, Patience, len(all), lines(all))
		}
	}
}

// lines lists the last records, one a line.
func lines(records []Record) string {
	const most = 20
	var b strings.Builder
	if len(records) > most {
		fmt.Fprintf(&b, "\t... %d before\n", len(records)-most)
	}
	for _, rec := range slices.Clone(records[max(0, len(records)-most):]) {
		fmt.Fprintf(&b, "\t%v\n", rec)
	}
	return b.String()
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}
