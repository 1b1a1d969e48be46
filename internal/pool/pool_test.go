package pool

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taskFunc is a Task made of a function.
type taskFunc func(*Worker)

func (f taskFunc) Run(w *Worker) { f(w) }

func TestTasksRunConcurrently(t *testing.T) {
	var p Pool
	defer p.Close()
	const n = 100
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		// Each task ends only when all have begun.
		p.Go(taskFunc(func(*Worker) { all.Done(); all.Wait() }), nil)
	}
	all.Wait()
}

func TestLastIdleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		var a, b, c *Worker
		gateA, gateB := make(chan struct{}), make(chan struct{})
		p.Go(taskFunc(func(w *Worker) { a = w; <-gateA }), nil)
		p.Go(taskFunc(func(w *Worker) { b = w; <-gateB }), nil)
		synctest.Wait()
		close(gateA)
		synctest.Wait()
		close(gateB)
		synctest.Wait()
		p.Go(taskFunc(func(w *Worker) { c = w }), nil)
		synctest.Wait()
		if a == b || c != b {
			t.Error("the worker that went idle last is not the first to be used")
		}
	})
}

// TestNoTaskWaitsForAnother starts tasks that block behind and before others, from
// tasks too: each begins although none ends.
func TestNoTaskWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		gate := make(chan struct{})
		var began atomic.Int32
		block := taskFunc(func(*Worker) { began.Add(1); <-gate })
		for range 50 {
			p.Go(block, nil)
			p.Go(taskFunc(func(*Worker) { p.Go(block, nil) }), nil)
		}
		synctest.Wait()
		if n := began.Load(); n != 100 {
			t.Errorf("%d of 100 tasks have begun", n)
		}
		close(gate)
	})
}

// TestShortTasksShareWorkers gives many tasks at once, of which none blocks.
func TestShortTasksShareWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var p Pool
	defer p.Close()
	const n = 1000
	workers, done := make(map[*Worker]int), make(chan struct{})
	last := 0 // tasks begin in order, and only one runs at a time
	for i := range n {
		p.Go(taskFunc(func(w *Worker) {
			workers[w]++
			if string(w.In) != strconv.Itoa(i) || i != last {
				t.Errorf("task %d has the data %q, after %d", i, w.In, last)
			}
			if last++; last == n {
				close(done)
			}
		}), []byte(strconv.Itoa(i)))
	}
	<-done
	if len(workers) > 3 {
		t.Errorf("%d workers ran %d tasks", len(workers), n)
	}
}

func TestDataIsCopied(t *testing.T) {
	var p Pool
	defer p.Close()
	data, got := []byte("before"), make(chan string)
	hold := make(chan struct{})
	p.Go(taskFunc(func(w *Worker) { <-hold; got <- string(w.In) }), data)
	copy(data, "behind")
	close(hold)
	if s := <-got; s != "before" {
		t.Errorf("got %q", s)
	}
}

// workers returns how many workers the bubble has that calls it.
func workers() (n int) {
	buf := make([]byte, 4<<20)
	for stack := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("synctest bubble")) && bytes.Contains(stack, []byte("(*Worker).loop(")) {
			n++
		}
	}
	return n
}

func TestIdleWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		gate := make(chan struct{})
		for range 50 {
			p.Go(taskFunc(func(*Worker) { <-gate }), nil)
		}
		close(gate)
		synctest.Wait()
		time.Sleep(3*trimEvery + time.Second)
		synctest.Wait()
		if n := workers(); n > 0 {
			t.Errorf("%d workers are left", n)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.trim != nil {
			t.Error("the timer goes on with no worker left")
		}
	})
}

func TestBusyWorkersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		for range 10 {
			p.Go(taskFunc(func(*Worker) {}), nil)
			synctest.Wait()
			time.Sleep(trimEvery / 3)
		}
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(p.idle); n != 1 {
			t.Errorf("%d workers are idle, want the one in use", n)
		}
	})
}

// TestWorkersOfABurstEnd: what a burst has left behind ends within two trims, though the pool is in use all the time.
func TestWorkersOfABurstEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		gate := make(chan struct{})
		for range 1000 {
			p.Go(taskFunc(func(*Worker) { <-gate }), nil)
		}
		synctest.Wait()
		if n := workers(); n != 1000 {
			t.Fatalf("%d workers have a task", n)
		}
		close(gate)
		for end := time.Now().Add(2*trimEvery + trimEvery/2); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for range 2 {
				p.Go(taskFunc(func(*Worker) { time.Sleep(time.Millisecond / 2) }), nil)
			}
			synctest.Wait()
		}
		if n := workers(); n < 1 || n > 2 {
			t.Errorf("%d workers are left, for two tasks at a time", n)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := cap(p.idle); n > 2000 {
			t.Errorf("the pool keeps room for %d idle workers", n)
		}
	})
}

func TestLargeBuffersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		var w *Worker
		p.Go(taskFunc(func(v *Worker) { w = v; w.Out = make([]byte, maxKept+1) }), make([]byte, maxKept+1))
		synctest.Wait()
		if w.In != nil || w.Out != nil {
			t.Errorf("kept %d and %d bytes", cap(w.In), cap(w.Out))
		}
		p.Go(taskFunc(func(w *Worker) { w.Out = make([]byte, maxKept) }), make([]byte, maxKept/2))
		synctest.Wait()
		if w.In == nil || cap(w.Out) != maxKept {
			t.Errorf("kept %d and %d bytes", cap(w.In), cap(w.Out))
		}
	})
}

func TestQueueGrowsAndIsTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		var q queue
		for i := range 3 * minQueue { // across the end of the ring
			q.push(nil, []byte{byte(i)})
			if i%2 == 1 {
				var in []byte
				if q.pop(&in); in[0] != byte(i/2) {
					t.Fatalf("got %d, want %d", in[0], i/2)
				}
			}
		}
		gate := make(chan struct{})
		p.Go(taskFunc(func(*Worker) { <-gate }), nil)
		for range 100 {
			p.Go(taskFunc(func(*Worker) {}), make([]byte, 100))
		}
		close(gate)
		synctest.Wait()
		time.Sleep(trimEvery + time.Second)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.tasks.ring != nil {
			t.Errorf("an idle pool keeps %d entries", len(p.tasks.ring))
		}
	})
}

func TestGoexitEndsOneWorker(t *testing.T) {
	var p Pool
	defer p.Close()
	var ran atomic.Int32
	done := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { defer close(done); ran.Add(1); runtime.Goexit() }), nil)
	<-done
	again := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { ran.Add(1); close(again) }), nil)
	<-again
	if ran.Load() != 2 {
		t.Errorf("%d tasks ran, want 2", ran.Load())
	}
}

// TestEndedWorkersEnd has workers end with their tasks. The tasks behind them run all the same.
func TestEndedWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		defer p.Close()
		gate := make(chan struct{})
		for range 50 {
			p.Go(taskFunc(func(w *Worker) { <-gate; w.End() }), nil)
		}
		synctest.Wait()
		close(gate)
		ran := false
		p.Go(taskFunc(func(w *Worker) { ran = true; w.End() }), nil)
		synctest.Wait()
		if n := workers(); n > 0 || !ran {
			t.Errorf("%d workers are left; the last task ran: %v", n, ran)
		}
	})
}

func TestCloseKeepsRunning(t *testing.T) {
	var p Pool
	gate, done := make(chan struct{}), make(chan struct{})
	p.Go(taskFunc(func(*Worker) { <-gate; close(done) }), nil)
	p.Close()
	after := make(chan struct{})
	p.Go(taskFunc(func(*Worker) { close(after) }), nil)
	<-after
	close(gate)
	<-done
}

func BenchmarkGo(b *testing.B) {
	var p Pool
	defer p.Close()
	done := make(chan struct{})
	task := taskFunc(func(*Worker) { done <- struct{}{} })
	b.ReportAllocs()
	for b.Loop() {
		p.Go(task, nil)
		<-done
	}
}
