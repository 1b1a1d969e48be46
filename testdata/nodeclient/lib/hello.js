'use strict';

const { bad, tooLong } = require('./errors');
const { META, RESPONSE, STREAM, WAIT, encodePacket } = require('./packet');
const { MAX_CREDIT } = require('./credit');
const { unpack } = require('./body');
const { responseError } = require('./response');

const SEQUENCE = 65535;
const TIMEOUT = 3000; // milliseconds
const MAX_HELLO = 16384;

// The limits that hello may say, with their defaults, which are also what this side says.
const LIMITS = { message: 4 << 20, frame: 64 << 10, calls: 1024, window: 64 << 10, messages: 64 << 10 };

// The most of each that can be used.
const MOST = { message: MAX_CREDIT, frame: MAX_CREDIT, calls: 65000, window: MAX_CREDIT, messages: MAX_CREDIT };

// helloPacket is the hello of this side.
function helloPacket() {
  const hello = { flyrpc: 2, agent: 'flyrpc-node', serializers: ['json'], inflate: ['flate'], ...LIMITS };
  return encodePacket({ flag: WAIT, seq: SEQUENCE, code: 'fly.hello', payload: Buffer.from(JSON.stringify(hello)) });
}

// isAnswer says whether the first packet that comes is the answer, of either version.
function isAnswer({ flag, seq }) {
  return (flag & (RESPONSE | STREAM)) === RESPONSE && seq === SEQUENCE;
}

// readAnswer returns the limits of the other end, or null if it speaks version 1.
function readAnswer(packet) {
  const { flag, code, length } = packet;
  if (length > MAX_HELLO) throw tooLong('the answer to hello');
  if (code.length > 0) {
    if (flag & META) throw responseError(packet, MAX_HELLO);
    return null;
  }
  let said;
  try {
    said = unpack(packet, MAX_HELLO).body.as('json');
  } catch {
    return null;
  }
  if (said?.flyrpc !== 2) return null;
  if (!said.serializers?.includes('json')) throw bad('no serializer in common');
  return limitsOf(said);
}

function limitsOf(said) {
  const limit = (name) => (said[name] > 0 ? Math.min(said[name], MOST[name]) : LIMITS[name]);
  return Object.fromEntries(Object.keys(LIMITS).map((name) => [name, limit(name)]));
}

module.exports = { TIMEOUT, LIMITS, helloPacket, isAnswer, readAnswer };
