package compress_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/compress"
	"github.com/go-flyrpc/flyrpc/internal/memorytest"
)

const (
	mayGrow      = messageLimit + 8<<20
	mayTake      = messageLimit + 3<<19
	bombVariable = "FLYRPC_TEST_BOMB"
)

// bomb is data that a careless decoder turns into much more memory.
type bomb struct {
	name  string
	make  func() []byte
	want  error
	code  bool // it is a code: stuffed, with the limit for codes
	twice bool // it is inflated in two attempts, each with memory of its own
}

// TestBombs inflates every bomb in a process of its own, and holds the growth of that
// process's memory to the rule.
func TestBombs(t *testing.T) {
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), bombVariable+"="+b.name, "GOMEMLIMIT=off", "GOGC=100", "GODEBUG=", "GORACE=atexit_sleep_ms=0")
			out, err := child.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "done\n") {
				t.Fatalf("the process that inflated ended with %v:\n%.4000s", err, out)
			}
			if testing.Verbose() {
				t.Logf("%s", out)
			}
		})
	}
}

// runBomb is the process that inflates.
func runBomb(name string) {
	for _, b := range bombs {
		if b.name == name {
			b.explode(b.make())
			fmt.Println("done")
			return
		}
	}
	fail("no bomb %s", name)
}

func (b bomb) explode(data []byte) {
	var c compress.Codec
	var before, after runtime.MemStats
	p, err := memorytest.Start()
	if err != nil {
		fail("%v", err)
	}
	runtime.ReadMemStats(&before)
	began := time.Now()
	var out []byte
	if b.code {
		out, err = c.InflateCode(nil, data, compress.MaxCode, both)
	} else {
		out, err = c.Inflate(nil, data, messageLimit, both)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	n, slack, measureErr := p.Growth()
	if measureErr != nil {
		fail("%v", measureErr)
	}
	taken := int64(after.TotalAlloc - before.TotalAlloc)
	fmt.Printf("%d bytes became %d in %v; grew by %d KiB, took %d KiB: %.90v\n",
		len(data), len(out), took.Round(time.Microsecond), n>>10, taken>>10, err)
	if !errors.Is(err, b.want) {
		fail("expected %v", b.want)
	}
	if n > mayGrow+slack {
		fail("grew by more than %d KiB", (mayGrow+slack)>>10)
	}
	most := int64(mayTake)
	if b.twice {
		most = 2*mayTake + int64(len(data))
	}
	if taken > most {
		fail("took more than %d KiB", most>>10)
	}
}

func fail(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}
