// Package compress makes bodies and codes smaller, and inflates what the other end made
// smaller, as section 5 of the protocol has it: bytes in, bytes out.
//
// A compressed body that begins with the zstd magic number is exactly one standard zstd
// frame, any other is exactly one raw flate stream, and nothing follows either. A
// compressed code is the same, then COBS, so that it has no zero byte.
//
// What is inflated comes from somebody who may be hostile. An inflation never holds more
// than its limit and a small constant, about 1.5 MiB, whatever the data declares, and memory
// is taken only for what the data can hold. A zstd frame that declares no content size, and
// has blocks enough for more than the limit, may take its own length and an eighth of the
// limit more.
package compress
