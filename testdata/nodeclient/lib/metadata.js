'use strict';

const { bad } = require('./errors');
const { decodeUvarint, wholeUvarint } = require('./uvarint');

const MAX_BLOCK = 8192;
const MAX_ENTRIES = 64;

const KEY = 0;
const TIMEOUT = 1;
const SERIALIZER = 4;
const NOT_PROCESSED = 6;

// oneEntry is a whole block, with its length, of the only entry that this client ever sends.
function oneEntry(id, value = '') {
  return Buffer.from([value.length + 2, id, value.length, ...Buffer.from(value)]);
}

// splitMetadata cuts a payload with META into { timeout, serializer, body }; the other
// entries are nothing to this client.
function splitMetadata(payload) {
  const size = decodeUvarint(payload);
  if (size === null || size.value > payload.length - size.next || size.value > MAX_BLOCK) throw bad('malformed metadata');
  const end = size.next + size.value;
  return { ...entries(payload.subarray(size.next, end)), body: payload.subarray(end) };
}

function entries(block) {
  const meta = {};
  let at = 0;
  const number = () => {
    const read = decodeUvarint(block, at);
    if (read === null) throw bad('malformed metadata: a number');
    at = read.next;
    return read.value;
  };
  const bytes = () => {
    const length = number();
    if (length > block.length - at) throw bad('malformed metadata: an entry is cut');
    at += length;
    return block.subarray(at - length, at);
  };
  for (let count = 1; at < block.length; count++) {
    if (count > MAX_ENTRIES) throw bad('malformed metadata: too many entries');
    const id = number();
    if (id === KEY) bytes();
    const value = bytes();
    if (id === SERIALIZER) meta.serializer = value.toString();
    if (id === TIMEOUT) meta.timeout = wholeUvarint(value);
    if (meta.timeout === null) throw bad('malformed metadata: timeout');
  }
  return meta;
}

module.exports = { MAX_BLOCK, SERIALIZER, NOT_PROCESSED, oneEntry, splitMetadata };
