package natsbus

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, unless one of them has started this binary as something else.
func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "broker":
		os.Exit(runChild(runBroker))
	case "instance":
		os.Exit(runChild(runInstance))
	case "archive":
		os.Exit(runChild(runArchive))
	case "reader":
		os.Exit(runChild(runReader))
	default:
		goleak.VerifyTestMain(m)
	}
}
