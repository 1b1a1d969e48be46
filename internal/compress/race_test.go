//go:build race

package compress_test

// raceEnabled says that the race detector's own memory is in the process, so
// its size says nothing.
const raceEnabled = true
