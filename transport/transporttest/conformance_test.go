package transporttest

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/go-flyrpc/flyrpc/transport"
)

// memConfig is that of a network inside the process.
func memConfig() Config {
	var names atomic.Int32
	return Config{
		Transport:  transport.NewMem(),
		Addr:       func(testing.TB) string { return "mem://" + strconv.Itoa(int(names.Add(1))) },
		WrongAddrs: []string{"mem://", "mem://a/b", "mem://me@a"},
	}
}

func TestMem(t *testing.T) { Run(t, memConfig()) }
