package natsbus

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, unless one of them has started this binary as a broker or as an instance of a service.
func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "broker":
		os.Exit(runChild(runBroker))
	case "instance":
		os.Exit(runChild(runInstance))
	default:
		goleak.VerifyTestMain(m)
	}
}
