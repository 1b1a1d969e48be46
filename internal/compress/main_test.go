package compress_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the child process of TestBombs.
func TestMain(m *testing.M) {
	if name := os.Getenv(bombVariable); name != "" {
		runBomb(name)
		return
	}
	goleak.VerifyTestMain(m)
}
