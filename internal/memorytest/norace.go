//go:build !race

package memorytest

// RaceEnabled says that the race detector's own memory is in the process, so its size says nothing.
const RaceEnabled = false
