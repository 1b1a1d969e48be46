'use strict';

// Values beyond 2^53 lose precision, which is enough to know that they are too large.

function encodeUvarint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Buffer.from([...bytes, value]);
}

// decodeUvarint returns { value, next }, or null if no uvarint of 64 bits begins at offset.
function decodeUvarint(buffer, offset = 0) {
  let value = 0;
  for (let i = 0; i < 10 && offset + i < buffer.length; i++) {
    const byte = buffer[offset + i];
    if (i === 9 && byte > 1) return null;
    value += (byte & 0x7f) * 0x80 ** i;
    if (byte < 0x80) return { value, next: offset + i + 1 };
  }
  return null;
}

// wholeUvarint returns the number that is all of buffer, or null.
function wholeUvarint(buffer) {
  const number = decodeUvarint(buffer);
  return number?.next === buffer.length ? number.value : null;
}

module.exports = { encodeUvarint, decodeUvarint, wholeUvarint };
