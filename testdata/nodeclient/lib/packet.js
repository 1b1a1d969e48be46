'use strict';

const { ProtocolError } = require('./errors');

const RESPONSE = 0x80;
const WAIT = 0x40;
const STREAM = 0x20;
const META = 0x10;
const ZIPCODE = 0x08;
const ZIPPAYLOAD = 0x04;
const LENGTH = 0x03;

const MAX_CODE = 4096;
const EMPTY = Buffer.alloc(0);

// encodePacket writes a packet with the shortest length field.
function encodePacket({ flag, seq, code = '', payload = EMPTY }) {
  const { length } = payload;
  const width = length < 0x100 ? 0 : length < 0x10000 ? 1 : 2; // Buffers are never longer
  const name = Buffer.from(code);
  const head = Buffer.alloc(4 + name.length + (1 << width));
  head[0] = flag | width;
  head.writeUInt16BE(seq, 1);
  name.copy(head, 3);
  head.writeUIntBE(length, 4 + name.length, 1 << width);
  return Buffer.concat([head, payload]);
}

// PacketReader cuts what arrives into packets { flag, seq, code, length, payload, tooLong }.
// What is longer than limit comes as soon as its header is there, with tooLong set and without
// its payload, which is skipped: one that may not be skipped must not be waited for.
class PacketReader {
  rest = EMPTY; // the beginning of a header
  packet = null; // the packet whose payload is being read,
  parts = []; // what has come of that,
  missing = 0; // and how many bytes have not

  constructor(limit, onPacket) {
    this.limit = limit;
    this.onPacket = onPacket;
  }

  push(chunk) {
    let data = Buffer.concat([this.rest, chunk]);
    this.rest = EMPTY;
    for (;;) {
      if (this.packet === null) {
        const used = this.#header(data);
        if (used === 0) break;
        data = data.subarray(used);
        if (this.packet.tooLong) this.onPacket(this.packet);
      }
      const { packet } = this;
      const part = data.subarray(0, this.missing);
      data = data.subarray(part.length);
      if (!packet.tooLong) this.parts.push(part);
      this.missing -= part.length;
      if (this.missing > 0) return;
      packet.payload = Buffer.concat(this.parts);
      this.packet = null;
      this.parts = [];
      if (!packet.tooLong) this.onPacket(packet);
    }
    this.rest = data;
  }

  // #header returns how many bytes the header has, 0 if it isn't complete.
  #header(data) {
    const end = data.indexOf(0, 3);
    if ((end < 0 ? data.length : end) > 3 + MAX_CODE) throw new ProtocolError('code too long');
    const width = 1 << (data[0] & LENGTH);
    if (end < 0 || data.length < end + 1 + width) return 0;
    const length = Number(`0x${data.toString('hex', end + 1, end + 1 + width)}`);
    if (length > 16 * this.limit) throw new ProtocolError('payload far too long');
    const code = data.subarray(3, end);
    const tooLong = length > this.limit;
    this.packet = { flag: data[0] & ~LENGTH, seq: data.readUInt16BE(1), code, length, payload: EMPTY, tooLong };
    this.missing = length;
    return end + 1 + width;
  }
}

module.exports = { RESPONSE, WAIT, STREAM, META, ZIPCODE, ZIPPAYLOAD, MAX_CODE, EMPTY, encodePacket, PacketReader };
