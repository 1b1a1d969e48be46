//go:build !unix

package transport

import (
	"errors"
	"testing"
)

func TestRawNone(t *testing.T) {
	if r, ok := Raw(nil); ok || r != nil {
		t.Error("a RawConn where there is none")
	}
	var r RawConn
	if _, err := r.TryWrite(nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("TryWrite: %v", err)
	}
	if _, _, err := r.Read(nil, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Read: %v", err)
	}
	if err := r.WaitReadable(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("WaitReadable: %v", err)
	}
}
