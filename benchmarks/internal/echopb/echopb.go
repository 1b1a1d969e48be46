// Package echopb is the message of all benchmarks as Protocol Buffers.
package echopb

//go:generate go run ./generate
