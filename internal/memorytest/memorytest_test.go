package memorytest

import (
	"runtime"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGrowth(t *testing.T) {
	for _, exact := range []bool{true, false} {
		p, err := Start()
		if err != nil {
			t.Fatal(err)
		}
		if !exact {
			p = Peak{base: runtimeMemory()}
		}
		const size = 32 << 20
		b := make([]byte, size)
		for i := range b {
			b[i] = 1
		}
		n, slack, err := p.Growth()
		runtime.KeepAlive(b)
		if err != nil || n < size-slack || n > 2*size+slack {
			t.Errorf("exact %v: memory has grown by %d bytes, give or take %d, for %d (%v)", p.exact, n, slack, size, err)
		}
	}
}

func TestStatus(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // it isn't asked for elsewhere
	}
	if n, err := status("VmRSS:"); err != nil || n < 1<<20 {
		t.Errorf("%d bytes are resident (%v)", n, err)
	}
	if _, err := status("Vm:"); err == nil {
		t.Error("the system has told what nobody knows")
	}
}

func TestAllocsPerRun(t *testing.T) {
	var kept *[64]byte
	if n := AllocsPerRun(10, func() { kept = new([64]byte) }); n != 1 {
		t.Errorf("%v allocations of one", n)
	}
	if n := AllocsPerRun(10, func() { kept[0]++ }); n != 0 {
		t.Errorf("%v allocations of none", n)
	}
	var other atomic.Pointer[[64]byte]
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for range 50_000 {
			other.Store(new([64]byte))
		}
	}()
	if n := AllocsPerRun(10, func() { runtime.Gosched(); kept[0]++ }); n != 0 {
		t.Errorf("%v allocations of none, beside others", n)
	}
	<-stopped
}
