//go:build !linux

package main

import "time"

// sleep waits at least for d.
func sleep(d time.Duration) { time.Sleep(d) }
