package balance

import "math/bits"

// What hash and mix multiply with: odd numbers without a pattern.
const (
	mix1 = 0x9e3779b97f4a7c15
	mix2 = 0xd1b54a32d192ed03
)

// hash returns a number for a text that is the same in every process. It isn't safe against those who look for texts with
// the same number: what they would gain is that their own calls go to one target.
func hash(s string) uint64 {
	h := uint64(len(s)) * mix1
	for len(s) >= 8 {
		h = mix(h, uint64(s[0])|uint64(s[1])<<8|uint64(s[2])<<16|uint64(s[3])<<24|
			uint64(s[4])<<32|uint64(s[5])<<40|uint64(s[6])<<48|uint64(s[7])<<56)
		s = s[8:]
	}
	var rest uint64
	for i := range len(s) {
		rest |= uint64(s[i]) << (8 * i)
	}
	return mix(h, rest)
}

// mix returns a number in which each bit depends on all bits of both.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^mix1, b^mix2)
	h := hi ^ lo
	h ^= h >> 32
	h *= mix1
	return h ^ h>>29
}
