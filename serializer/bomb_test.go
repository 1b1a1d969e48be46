package serializer_test

import (
	"encoding/binary"
	stdjson "encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	lib "github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-flyrpc/flyrpc/internal/memorytest"
	"github.com/go-flyrpc/flyrpc/serializer"
	"github.com/go-flyrpc/flyrpc/serializer/json"
	"github.com/go-flyrpc/flyrpc/serializer/msgpack"
	"github.com/go-flyrpc/flyrpc/serializer/protobuf"
)

const (
	messageLimit = 4 << 20
	mayGrow      = messageLimit + 8<<20
	bombVariable = "FLYRPC_TEST_BOMB"
)

// bomb is data that a careless decoder turns into much more memory.
type bomb struct {
	name string
	make func() []byte
}

type large struct {
	A    [24]int64 `json:"a"`
	Name string    `json:"name"`
}

type tree struct {
	Name     string           `json:"name"`
	Children []tree           `json:"children"`
	Left     *tree            `json:"left"`
	Map      map[string]tree  `json:"map"`
	Pointers map[string]*tree `json:"pointers"`
	Ints     []int64          `json:"ints"`
	Extra    any              `json:"extra"`
	When     time.Time        `json:"when"`
}

type rawHolder struct {
	Raw lib.RawMessage     `json:"raw"`
	Std stdjson.RawMessage `json:"std"`
}

// goTargets are types that JSON and MessagePack are decoded into.
var goTargets = []func() any{
	func() any { return new(any) },
	func() any { return new([]any) },
	func() any { return new([]int64) },
	func() any { return new([]bool) },
	func() any { return new([]float64) },
	func() any { return new([]string) },
	func() any { return new([][]byte) },
	func() any { return new([][]int64) },
	func() any { return new([]struct{}) },
	func() any { return new([]large) },
	func() any { return new([]*large) },
	func() any { return new([]map[string]string) },
	func() any { return new(map[string]any) },
	func() any { return new(map[string]int64) },
	func() any { return new(map[string]string) },
	func() any { return new(map[int]bool) },
	func() any { return new(map[string]large) },
	func() any { return new(map[string]struct{}) },
	func() any { return new(tree) },
	func() any { return new([]tree) },
	func() any { return new(struct{}) },
	func() any { return new(rawHolder) },
	func() any { return new(string) },
	func() any { return new([]byte) },
	func() any { return new(float64) },
	func() any { return new(big.Int) },
	func() any { return new(big.Float) },
	func() any { return new(stdjson.Number) },
	func() any { return new(stdjson.RawMessage) },
	func() any { return new(time.Time) },
}

var protoTargets = []func() any{
	func() any { return new(structpb.Value) },
	func() any { return new(structpb.ListValue) },
	func() any { return new(structpb.Struct) },
	func() any { return new(typepb.Type) },
	func() any { return new(fieldmaskpb.FieldMask) },
	func() any { return new(wrapperspb.BytesValue) },
	func() any { return new(descriptorpb.FileDescriptorProto) },
	func() any { return new(descriptorpb.SourceCodeInfo_Location) },
	func() any { return new(descriptorpb.FileOptions) },
}

var corpora = []struct {
	serializer serializer.Serializer
	bombs      []bomb
	targets    []func() any
}{
	{msgpack.Serializer, msgpackBombs, goTargets},
	{json.Serializer, jsonBombs, goTargets},
	{protobuf.Serializer, protoBombs, protoTargets},
}

// TestBombs decodes every bomb into every target, in a process of its own for
// each bomb, and holds the growth of that process's memory to the rule.
func TestBombs(t *testing.T) {
	for _, c := range corpora {
		for _, b := range c.bombs {
			name := c.serializer.Name() + "/" + b.name
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				child := exec.Command(os.Args[0])
				child.Env = append(os.Environ(), bombVariable+"="+name, "GOMEMLIMIT=off", "GOGC=100", "GODEBUG=", "GORACE=atexit_sleep_ms=0")
				out, err := child.CombinedOutput()
				if err != nil || !strings.HasSuffix(string(out), "done\n") {
					t.Fatalf("the process that decoded ended with %v:\n%.4000s", err, out)
				}
				if testing.Verbose() {
					t.Logf("%s", out)
				}
			})
		}
	}
}

// runBomb is the process that decodes.
func runBomb(name string) {
	for _, c := range corpora {
		for n, b := range c.bombs {
			if c.serializer.Name()+"/"+b.name != name {
				continue
			}
			data := b.make()
			if len(data) > messageLimit {
				fail("the bomb has %d bytes", len(data))
			}
			for i, target := range c.targets {
				// The race detector is slow: with it, each bomb gets other targets.
				if !memorytest.RaceEnabled || i%6 == n%6 {
					explode(c.serializer, data, target())
				}
			}
			fmt.Println("done")
			return
		}
	}
	fail("no bomb %s", name)
}

func explode(s serializer.Serializer, data []byte, v any) {
	// What a type needs once is not what the data costs.
	_ = s.Decode([]byte{0xc0}, v)
	p, err := memorytest.Start()
	if err != nil {
		fail("%v", err)
	}
	began := time.Now()
	err = s.Decode(data, v)
	took := time.Since(began)
	n, slack, measureErr := p.Growth()
	if measureErr != nil {
		fail("%v", measureErr)
	}
	fmt.Printf("%-36T grew by %6d KiB in %8v: %.90v\n", v, n>>10, took.Round(time.Microsecond), err)
	if n > mayGrow+slack {
		fail("more than %d KiB", (mayGrow+slack)>>10)
	}
}

func fail(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

// fill repeats a piece between a head and a tail up to the message limit.
func fill(head, piece, tail string) []byte {
	n := (messageLimit - len(head) - len(tail)) / len(piece)
	return []byte(head + strings.Repeat(piece, n) + tail)
}

// numbered is like fill, with pieces that differ: format gets a number.
func numbered(head, format, separator, tail string, limit int) []byte {
	var b strings.Builder
	b.WriteString(head)
	for i := 0; b.Len() < limit-len(tail)-len(format)-16; i++ {
		if i > 0 {
			b.WriteString(separator)
		}
		fmt.Fprintf(&b, format, i)
	}
	b.WriteString(tail)
	return []byte(b.String())
}

// counted writes the number of pieces that follow as four bytes behind the first.
func counted(first byte, pieces int, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{first}, uint32(pieces))
	return append(b, body...)
}
