package websocket

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// What SetTextWait sets knows whether a part of a message has come, however little.
func TestTextWait(t *testing.T) { synctest.Test(t, textWait) }

func textWait(t *testing.T) {
	nc, server := peer(t)
	var waits []int
	stop := errors.New("stop")
	server.SetTextWait(func(n int) error {
		waits = append(waits, n)
		if len(waits) == 6 {
			return stop
		}
		return nil
	})
	whole := frame(0x81, "whole")
	first, rest := frame(0x01, "abc"), frame(0x80, "def")
	texts := make(chan string)
	go func() {
		for {
			text, err := server.ReadText()
			if err != nil {
				texts <- err.Error()
				return
			}
			texts <- string(text)
		}
	}()
	mustWrite(t, nc, whole)
	got := []string{<-texts}
	for _, part := range [][]byte{first[:1], first[1:], rest[:3], rest[3:]} {
		mustWrite(t, nc, part)
		synctest.Wait() // for it to be read by itself
	}
	got = append(got, <-texts, <-texts)
	if want := []string{"whole", "abcdef", "stop"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []int{0, 0, 1, 4, 4, 0}; !slices.Equal(waits, want) {
		t.Errorf("it waited with %v, want %v", waits, want)
	}
}
