//go:build !linux

package transport

import (
	"errors"
	"testing"
)

func TestReadSetNone(t *testing.T) {
	if s, err := NewReadSet(); s != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("NewReadSet: %v, %v", s, err)
	}
	var s ReadSet
	s.Remove(nil)
	if err := s.Add(nil, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Add: %v", err)
	}
	if _, err := s.Wait(nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Wait: %v", err)
	}
	if err := s.Close(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Close: %v", err)
	}
}
