package errtext_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc/serializer/internal/errtext"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBrief(t *testing.T) {
	if err := errtext.Brief(io.EOF); err != io.EOF {
		t.Errorf("a short error became %v", err)
	}
	long := errtext.Brief(errors.New(strings.Repeat("é", errtext.Max)))
	if want := strings.Repeat("é", errtext.Max/2) + "..."; long.Error() != want {
		t.Errorf("a long error became %q", long)
	}
	if odd := errtext.Brief(errors.New("x" + strings.Repeat("é", errtext.Max))); strings.ContainsRune(odd.Error(), '\uFFFD') {
		t.Errorf("a character was cut: %q", odd)
	}
}
