package compress

// windowAt is where a frame that is not a single segment has its window descriptor.
const windowAt = 5

// windowFor returns the smallest window that is at least n bytes, and its descriptor: five
// bits for a power of two from 1 KiB on, three for eighths of it that are added.
func windowFor(n int) (descriptor byte, size int) {
	for exponent := range 32 {
		base := minWindow << exponent
		for eighths := range 8 {
			if size = base + base/8*eighths; size >= n {
				return byte(exponent<<3 | eighths), size
			}
		}
	}
	return 0xff, size
}
