package compress

// sampledFrom is the length from which samples decide whether a body is compressed at all.
// A shorter one is compressed before samples of it would have told much.
const sampledFrom = 32 << 10

// The samples are pieces of a body, evenly spread.
const (
	samples    = 16
	sampleSize = 256
	sampled    = samples * sampleSize
)

// flatBelow is the sum of the squared counts of the 256 byte values in the samples below
// which all values are about as frequent. Were they equally frequent it would be
// sampled²/256. Random bytes exceed that by a sixteenth, give or take 0.6 percent; text
// exceeds it by far, and base64 fourfold. Below a tenth, codes for single bytes save less
// than two percent.
const flatBelow = sampled * sampled / 256 * 11 / 10

// trialSize is how much is compressed for a trial where the byte values tell nothing.
const trialSize = 8 << 10

// promising reports whether it may be worth compressing src, which is at least sampledFrom
// long. What looks random may still repeat itself, so a piece of it is tried.
func (c *Codec) promising(src []byte, m Method) bool {
	if !flat(src) {
		return true
	}
	b := c.buffer()
	defer c.buffers.Put(b)
	middle := (len(src) - trialSize) / 2
	out, ok := c.append(b[:0], src[middle:middle+trialSize], m)
	return ok && len(out) < trialSize-trialSize/32
}

// flat reports whether the bytes in samples of src are as evenly distributed as random ones.
func flat(src []byte) bool {
	var counts [256]uint32
	step := (len(src) - sampleSize) / (samples - 1)
	for i := range samples {
		for _, b := range src[i*step:][:sampleSize] {
			counts[b]++
		}
	}
	var sum uint32
	for _, n := range counts {
		sum += n * n
	}
	return sum < flatBelow
}
