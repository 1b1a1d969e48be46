'use strict';

const zlib = require('node:zlib');
const { bad, tooLong } = require('./errors');
const { MAX_CODE } = require('./packet');

const FULL = 254; // the longest run of COBS; it stands for itself alone

// inflate undoes one raw flate stream that is all of bytes and holds at most limit bytes.
// Zstandard is not offered in hello; no flate stream begins as it does.
function inflate(bytes, limit) {
  let result;
  try {
    result = zlib.inflateRawSync(bytes, { maxOutputLength: limit, info: true });
  } catch (error) {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLong('what is inflated') : bad('this cannot be inflated');
  }
  if (result.engine.bytesWritten !== bytes.length) throw bad('something follows what is inflated');
  return result.buffer;
}

// inflateCode undoes a code with ZIPCODE.
function inflateCode(code) {
  let plain;
  try {
    plain = inflate(unstuff(code), MAX_CODE);
  } catch {
    throw bad('the code cannot be inflated');
  }
  if (plain.includes(0)) throw bad('the code has a zero byte');
  return plain;
}

// unstuff undoes COBS. There is no zero among the bytes, since a zero ends a code.
function unstuff(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; ) {
    const run = bytes[at] - 1;
    const end = at + 1 + run;
    if (end > bytes.length) throw bad('a run is cut');
    parts.push(bytes.subarray(at + 1, end));
    if (run < FULL && end < bytes.length) parts.push(Buffer.alloc(1));
    at = end;
  }
  return Buffer.concat(parts);
}

module.exports = { inflate, inflateCode };
