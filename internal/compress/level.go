package compress

import "github.com/klauspost/compress/zstd"

// Level is how much time Append may take to make bodies smaller. Inflating takes no longer
// at any level.
type Level uint8

// The levels.
const (
	Fastest Level = iota
	Balanced
	Smallest
)

// zstd returns the level of the zstd encoder.
func (l Level) zstd() zstd.EncoderLevel {
	return [...]zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression}[l]
}

// flate returns the level of the flate encoder. What levels above 1 gain on messages is a few percent.
func (l Level) flate() int { return [...]int{1, 5, 9}[l] }
