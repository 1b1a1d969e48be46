'use strict';

const { bad, tooLong } = require('./errors');
const { META, ZIPPAYLOAD, EMPTY } = require('./packet');
const { SERIALIZER, oneEntry, splitMetadata } = require('./metadata');
const { inflate } = require('./inflate');

const KINDS = { '': 'bytes', t: 'text', json: 'json' }; // by entry 4

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// Body is a message as it travels. kind is nil, bytes, text or json; of a version 1 peer it is
// unmarked, and what the body is depends on what is wanted.
class Body {
  constructor(kind, bytes = EMPTY) {
    this.kind = kind;
    this.bytes = bytes;
  }

  static json(value) {
    return new Body('json', Buffer.from(JSON.stringify(value)));
  }

  // of chooses how a value travels: undefined is nil.
  static of(value) {
    if (value instanceof Body) return value;
    if (value === undefined) return new Body('nil');
    if (typeof value === 'string') return new Body('text', Buffer.from(value));
    return Buffer.isBuffer(value) ? new Body('bytes', value) : Body.json(value);
  }

  get raw() {
    return this.kind === 'bytes' || this.kind === 'text';
  }

  // as decodes the body: json, bytes, text, or body for the body itself.
  as(wanted) {
    if (wanted === 'body') return this;
    if (this.kind === 'nil') return { bytes: EMPTY, text: '' }[wanted];
    if (wanted === 'json') {
      if (this.raw) throw bad('a raw body where an encoded one is wanted');
      return parse(this.bytes);
    }
    if (this.kind !== 'json') return wanted === 'text' ? text(this.bytes) : this.bytes;
    const value = parse(this.bytes);
    if (typeof value !== 'string') throw bad(`the body is no ${wanted}`);
    return wanted === 'text' ? value : Buffer.from(value, 'base64');
  }
}

function text(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    throw bad('the text is not UTF-8');
  }
}

// pathOf returns the path of a request or message. One that is not UTF-8 has no handler, as the empty one.
function pathOf(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return '';
  }
}

function parse(bytes) {
  try {
    return JSON.parse(text(bytes));
  } catch {
    throw bad('the body is no JSON');
  }
}

// pack makes { flag, payload } of a body; limit is the largest message that the other end accepts.
function pack({ kind, raw, bytes }, limit) {
  if (bytes.length > limit) throw tooLong('the message');
  if (!raw) return { flag: 0, payload: bytes };
  const mark = oneEntry(SERIALIZER, kind === 'text' ? 't' : '');
  return { flag: META, payload: Buffer.concat([mark, bytes]) };
}

// unpack undoes it: { timeout, body }; limit is the largest message accepted here.
function unpack({ flag, payload }, limit) {
  const meta = flag & META ? splitMetadata(payload) : { body: payload };
  const bytes = flag & ZIPPAYLOAD ? inflate(meta.body, limit) : meta.body;
  if (bytes.length > limit) throw tooLong('the message');
  const kind = meta.serializer === undefined ? (bytes.length > 0 ? 'json' : 'nil') : KINDS[meta.serializer];
  if (kind === undefined) throw bad('unknown serializer');
  return { timeout: meta.timeout, body: new Body(kind, bytes) };
}

module.exports = { Body, pack, unpack, pathOf };
