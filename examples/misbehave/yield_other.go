//go:build !linux

package main

// yield does nothing: how a process is made to wait for others isn't known here.
func yield() error { return nil }
